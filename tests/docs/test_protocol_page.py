"""docs/protocol.md says what the code does: its seeds are those of a run, and its figures are the defaults."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from fakes import FakeGenerator
from paths import ROOT

from mipo_bench.baselines.prompting.profile import Profile
from mipo_bench.baselines.recipes.mipo_missing import MipoMissing
from mipo_bench.baselines.recipes.mipo_random import MipoRandom
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.harness.inference.sampling import Draws, sample_tokens
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.training.pairs import PairSource, pair_requests
from mipo_bench.harness.types import Decoding, Recipe
from mipo_bench.tasks.embedded.persona import Persona

PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
TASK = Persona()
ITEMS = TASK.items("train")[:40]


def of_the_page() -> dict[str, Callable[..., Any]]:
    """The functions that the page defines."""
    [code] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)
    return found


def test_the_seeds_are_those_of_the_code() -> None:
    page = of_the_page()
    assert page["seed_of"]("a", 1, None) == seed_of("a", 1, None)
    assert page["evaluation_seed"]("persona", "eval-1") == seed_of("evaluation", "persona", "eval-1", 0)


@pytest.mark.parametrize("recipe", [MipoRandom(), MipoMissing()], ids=lambda recipe: recipe.name)
def test_the_requests_of_the_pairs_follow_from_the_page(recipe: Recipe) -> None:
    page = of_the_page()
    drawn = random.Random(page["contrast_seed"]("persona", recipe.name, 1))
    users = list({item.user_id: item.context for item in ITEMS}.values())
    contexts: list[str | None] = []
    for item in ITEMS:
        context = None
        while recipe.name == "mipo-random" and context in (None, item.context):
            context = drawn.choice(users)
        contexts.append(context)
    wanted = [
        (item, context) for item, context in zip([*ITEMS, *ITEMS], [i.context for i in ITEMS] + contexts, strict=True)
    ]
    source = PairSource(TASK, ITEMS, Profile(), recipe, Decoding(8, 1.0), seed=1)
    made = list(pair_requests(source, FakeGenerator("fake", lambda _: "")))
    assert [r.seed for r in made] == [page["pair_seed"]("persona", item.id, c, 1) for item, c in wanted]
    assert [r.prompt for r in made] == [
        (f"<system>{c}" if c else "") + f"<user>{item.prompt}<assistant>" for item, c in wanted
    ]


def test_a_token_is_drawn_as_the_page_says() -> None:
    decoding = Decoding(5, 0.7, 0.9)
    probabilities = np.array([0.05, 0.5, 0.02, 0.33, 0.1])
    numbers = np.random.default_rng(7).random(5)
    logits = torch.tensor(np.log(probabilities) * 0.7, dtype=torch.float32)[None]  # the temperature gives them back
    nucleus = np.array([0, 0.5, 0, 0.33, 0.1])
    for step, number in enumerate(numbers):
        wanted = int(np.searchsorted(nucleus.cumsum(), number * nucleus.sum(), side="right"))
        assert sample_tokens(logits, [decoding], [Draws(7, decoding).at(step)]) == [wanted]


def test_the_arms_and_the_figures_are_the_defaults() -> None:
    config = RunConfig(model="folder")
    arms = make_plan(config.model_copy(update={"tasks": ("persona",)})).arms
    assert {(a.method, a.train_seed, a.sample_seed) for a in arms if a.recipe or a.aa_twin} == {
        ("profile (A/A)", None, 1),
        *((recipe, seed, 0) for recipe in ("mipo-missing", "mipo-random") for seed in (0, 1, 2)),
    }
    train, decoding, pairs = config.train, config.decoding, config.pairs
    assert (train.lr, train.beta, train.batch_size, train.max_length, train.epochs) == (5e-7, 0.1, 4, 4096, 1)
    assert (train.warmup, train.lora_rank, train.method, train.loss) == (0.03, 16, "full", "sigmoid")
    assert (decoding.temperature, decoding.top_p, decoding.seed) == (0.1, 0.9, 0)
    assert (pairs.temperature, pairs.top_p, config.overflow, config.seeds) == (1, 1, 0.01, 3)
    for figure in ("5e-7", "beta 0.1", "4,096", "batches of 4", "3% of the steps", "rank 16", "(0.1)", "(0.9)", "1%"):
        assert figure in PAGE
