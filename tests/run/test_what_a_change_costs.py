"""The table of docs/store.md: for each change, the parts of a run that are computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeGenerator, SilentDisplay
from paths import ROOT

from mipo_bench.baselines.prompting.no_context import NoContext
from mipo_bench.harness.backends.base import TrainedCheckpoint
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.generators.kept_prompts import render_kept
from mipo_bench.harness.planning.plan import Plan, make_plan
from mipo_bench.harness.protocols import Arm, Chat, LikelihoodRequest, Prompt, Request
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.training.pairs import PairSet, PromptSet
from mipo_bench.harness.types import Item, Message, Response, Score
from mipo_bench.tasks.embedded.persona import Persona

PARTS = ("prompts", "answers of prompting arms", "trainings", "answers of trained arms", "likelihoods")


@dataclass
class Counts:
    """What a run computed, by part of the table."""

    parts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))


class Counting(FakeGenerator):
    """A fake whose prompts are kept in the store, and which counts what it computes."""

    def __init__(self, name: str, store: Store, counts: Counts) -> None:
        super().__init__(name, lambda request: digest([name, request.prompt, request.seed, request.decoding])[:9])
        self.store, self.counts = store, counts

    def render(self, messages: Sequence[Message], context: str | None) -> Prompt:
        self.counts.parts["prompts"] += 1
        return super().render(messages, context)

    def render_all(self, chats: Sequence[Chat]) -> list[Prompt | None]:
        return render_kept(chats, ["fake"], self.store.remembered, lambda chat: self.render(*chat))

    def generate(self, requests: Sequence[Request]) -> Iterator[Any]:
        evaluated = [r for r in requests if r.decoding.temperature < 0.4]  # pairs are sampled at a higher one
        of = "answers of prompting arms" if self.digest == "base" else "answers of trained arms"
        self.counts.parts[of] += len(evaluated)
        return super().generate(requests)

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[Any]:
        self.counts.parts["likelihoods"] += len(asked)
        return super().likelihoods(asked)


class CountingEngine:
    """A backend that keeps its checkpoints under the pairs and the training settings, as the real one does."""

    model_digest, name, device, dtype = "base", "fake", "cpu", "float32"

    def __init__(self, store: Store, config: RunConfig, kept: set[str]) -> None:
        self.notes: list[str] = []
        self.counts, self.store, self.config, self.kept = Counts(), store, config, kept
        self.base = Counting("base", store, self.counts)

    def trained(self, arm: Arm, data: PairSet | PromptSet, on_step: Callable[[int, int], None]) -> TrainedCheckpoint:
        key = f"{arm.task} {arm.recipe} {arm.train_seed} {data.digest} {self.config.train.model_dump_json()}"
        self.counts.parts["trainings"] += key not in self.kept
        self.kept.add(key)
        assert isinstance(data, PairSet)
        lineage = {"pairs": {"used": len(data.pairs), "discarded": {}}, "curve": []}
        return TrainedCheckpoint(Counting(key, self.store, self.counts), key, lineage)

    def unload(self) -> None:
        pass


SETTINGS = ["information.contexts=1"]
BEFORE: dict[str, Any] = {
    "tasks": ["persona"],
    "limit": 9,
    "seeds": 1,
    "recipes": ["mipo-random"],
    "baselines": ["no-context"],
}
CHANGES: dict[str, list[tuple[list[str], dict[str, Any]]]] = {
    "nothing": [([], {})],
    "`alpha`, `average`": [(["alpha=0.1"], {}), (["average=macro"], {})],
    "`decoding.seed`": [(["decoding.seed=7"], {})],
    "`decoding.temperature`, `decoding.top_p`": [(["decoding.temperature=0.2"], {}), (["decoding.top_p=0.5"], {})],
    "`decoding.max_new_tokens`": [(["decoding.max_new_tokens=5"], {})],
    "`pairs.temperature`, `pairs.top_p`": [(["pairs.temperature=0.8"], {}), (["pairs.top_p=0.7"], {})],
    "`train.lr`, `train.epochs`": [(["train.lr=0.01"], {}), (["train.epochs=5"], {})],
    "`information.contexts`, `information.items`": [(["information.contexts=2"], {})],
    "`noise_floor=false`": [(["noise_floor=false"], {})],
    "one seed more": [([], {"seeds": 2})],
    "one baseline more": [([], {"baselines": ["no-context", "few-shot"]})],
    "one recipe more": [([], {"recipes": ["mipo-random", "mipo-missing"]})],
    "one task more": [([], {"tasks": ["persona", "arithmetic"]})],
}
NOT_HERE = ("a scorer", "the text of a prompt", "model, chat template")
"""Rows that other tests hold: the last one here, and those of `test_kept_prompts`."""


def rows() -> dict[str, dict[str, str]]:
    """Change -> part -> the cell of the table in the page."""
    lines = (ROOT / "docs" / "store.md").read_text().splitlines()
    start = lines.index(f"| change | {' | '.join(PARTS)} |")
    table = {}
    for line in lines[start + 2 : lines.index("", start)]:
        change, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        table[change] = dict(zip(PARTS, cells, strict=True))
    return table


def compute(
    store: Store,
    kept: set[str],
    settings: list[str],
    options: dict[str, Any],
    change: Callable[[Plan], Plan] = lambda plan: plan,
) -> Counts:
    config = load_config(None, SETTINGS + settings, {**BEFORE, **options})
    engine = CountingEngine(store, config, kept)
    Run(RunContext(config, change(make_plan(config)), store, engine, SilentDisplay())).execute()
    return engine.counts


def test_the_page_and_this_test_have_the_same_rows() -> None:
    assert [change for change in rows() if not change.startswith(NOT_HERE)] == [*CHANGES]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_costs_what_the_page_says(change: str, tmp_path: Path) -> None:
    for n, (settings, options) in enumerate(CHANGES[change]):
        with closing(Store(tmp_path / str(n))) as store:
            kept: set[str] = set()
            first = compute(store, kept, [], {})
            assert all(first.parts.values())
            again = compute(store, kept, settings, options)
            for part, cell in rows()[change].items():
                assert (again.parts[part] > 0) == (cell != "no"), (part, again.parts)


class Generous(Persona):
    """The task with another scorer."""

    def score(self, item: Item, response: Response) -> Score:
        return Score(1.0)


class Curt(NoContext):
    """The baseline with another text."""

    def messages(self, item: Item) -> tuple[Message, ...]:
        return (Message("user", f"In short: {item.prompt}"),)


def with_scorer(plan: Plan) -> Plan:
    return replace(plan, tasks=(replace(plan.tasks[0], task=Generous()),))


def with_text(plan: Plan) -> Plan:
    return replace(plan, baselines={**plan.baselines, "no-context": Curt()})


def test_a_scorer_and_the_text_of_one_baseline_cost_what_the_page_says(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        kept: set[str] = set()
        compute(store, kept, [], {})
        assert not any(compute(store, kept, [], {}, with_scorer).parts.values())
        changed = compute(store, kept, [], {}, with_text).parts
        assert changed["prompts"] == changed["answers of prompting arms"] == 9  # `no-context` is not the reference
        assert not changed["trainings"]
