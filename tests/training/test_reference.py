"""Log-probabilities of the reference: computed once for all trainings of a base model on the same pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from trl import DPOTrainer

from mipo_bench.harness.backends.hf import HFBackend
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import TrainConfig
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.generators import model_folder
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.protocols import Arm, Pair
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.training.job import Training
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.training.train import train
from mipo_bench.harness.types import Message

pytestmark = pytest.mark.training
SETTINGS = TrainConfig(lr=1e-3, batch_size=4, max_length=256)


def pair_set(words: Iterable[int] = (3, 40, 8, 1, 25, 2)) -> PairSet:
    """Pairs whose chosen sides have so many words."""
    prompt = (Message("user", "tea or music"),)
    return PairSet(tuple(Pair(str(n), prompt, "tea " * n + "now", "rain no") for n in words), {}, f"pairs {words}")


class Memory(dict[str, Any]):
    """Remembers in this process."""

    def __call__(self, parts: Iterable[object], compute: Callable[[], Any]) -> Any:
        """See `kept_prompts.Remember`."""
        key = digest(parts)
        if key not in self:
            self[key] = compute()
        return self[key]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each batch that the reference has computed."""
    rows: list[int] = []
    before = DPOTrainer.compute_ref_log_probs

    def counted(self: Any, model: Any, inputs: Any) -> Any:
        rows.append(len(inputs["input_ids"]))
        return before(self, model, inputs)

    monkeypatch.setattr(DPOTrainer, "compute_ref_log_probs", counted)
    return rows


@pytest.mark.parametrize(
    "changed",
    [{"lr": 2e-3}, {"beta": 0.3}, {"loss": "ipo"}, {"epochs": 2}, {"method": "lora", "lora_rank": 4}],
    ids=lambda changed: next(iter(changed)),
)
def test_other_settings_of_the_training_take_the_same_reference(
    changed: dict[str, Any], computed: list[int], tmp_path: Path
) -> None:
    base, memory = model_folder.embedded_folder(), Memory()
    first = Training(base, "base", "persona", "mipo-random", 0, pair_set(), SETTINGS, Placement())
    second = replace(first, settings=SETTINGS.model_copy(update=changed))
    train(first, tmp_path / "first", lambda step, total: None, remember=memory)
    assert computed == [8, 4]
    train(second, tmp_path / "second", lambda step, total: None, remember=memory)
    assert computed == [8, 4], "the second one computes none"
    train(second, tmp_path / "anew", lambda step, total: None)
    assert computed == [8, 4, 8, 4]
    weights = [
        dict(AutoModelForCausalLM.from_pretrained(tmp_path / name).named_parameters()) for name in ("second", "anew")
    ]
    assert all(torch.equal(weights[0][name], values) for name, values in weights[1].items())


@pytest.mark.parametrize(
    ("changed", "rows"),
    [({"base_digest": "other"}, [8, 4, 8, 4]), ({"data": pair_set((3, 40, 8, 1, 25, 9))}, [8, 4, 8, 4])],
    ids=["base", "pairs"],
)
def test_another_model_or_other_pairs_have_a_reference_of_their_own(
    changed: dict[str, Any], rows: list[int], computed: list[int], tmp_path: Path
) -> None:
    first = Training(
        model_folder.embedded_folder(), "base", "persona", "mipo-random", 0, pair_set(), SETTINGS, Placement()
    )
    memory = Memory()
    for number, training in enumerate((first, replace(first, **changed))):
        train(training, tmp_path / str(number), lambda step, total: None, remember=memory)
    assert computed == rows


def test_a_grid_keeps_the_reference_in_the_store(computed: list[int], tmp_path: Path) -> None:
    given = {"recipes": ["mipo-random"], "seeds": 1, "tasks": ["persona"], "grid": {"lr": [1e-4, 1e-3]}}
    config = load_config(None, [], given)
    for method in ("mipo-random lr=0.0001", "mipo-random lr=0.001"):
        with closing(Store(tmp_path)) as store:
            backend = HFBackend(config, model_folder.embedded_folder(), Placement(), store)
            backend.trained(Arm("persona", "profile", method, 0), pair_set(), lambda step, total: None)
            assert computed == [12], "all pairs in one batch, once"
