"""The same training with less work: one pair at a time for a large model on a CPU, and logits of responses alone."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import trl.trainer.utils
from real_models import make_model
from transformers import AutoModelForCausalLM

from mipo_bench.harness.config.schema import TrainConfig
from mipo_bench.harness.generators import model_folder
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.protocols import Pair
from mipo_bench.harness.training import dpo, sft
from mipo_bench.harness.training import train as train_module
from mipo_bench.harness.training.job import OnStep, Prepared, Training
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.training.train import train
from mipo_bench.harness.types import Message, Objective

pytestmark = pytest.mark.training
SETTINGS = TrainConfig(lr=1e-3, batch_size=4, max_length=256)
LENGTHS = (3, 40, 8, 1, 25, 2)
"""Words of the chosen responses: no two sides of a batch are equally long, and the last batch has two pairs."""


def training(folder: Path, parts: int = 1, objective: Objective = "dpo") -> Training:
    """Six pairs, in batches of four."""
    prompt = (Message("user", "tea or music"),)
    pairs = [Pair(str(n), prompt, "tea " * n + "now", "rain " * (n // 2) + "no") for n in LENGTHS]
    job = Training(
        folder, "base", "persona", "mipo-random", 0, PairSet(tuple(pairs), {}, "d", objective), SETTINGS, Placement()
    )
    return replace(job, gradient_accumulation_steps=parts)


def run(job: Training, out: Path) -> tuple[list[int], list[float], dict[str, torch.Tensor]]:
    """The rows of each computation for a gradient, the loss of each step, and the weights in the end."""
    rows: list[int] = []

    def prepare(job: Training, scratch: str, on_step: OnStep) -> Prepared:
        prepared = {"dpo": dpo.prepare, "sft": sft.prepare}[job.data.objective](job, scratch, on_step)
        cast("torch.nn.Module", prepared.trainer.model).register_forward_pre_hook(
            lambda module, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
        )
        return prepared

    train(job, out, lambda step, total: None, prepare)
    curve = json.loads((out / "lineage.json").read_text())["curve"]
    return rows, [point["loss"] for point in curve], dict(AutoModelForCausalLM.from_pretrained(out).named_parameters())


def test_a_large_model_on_a_cpu_trains_on_one_pair_at_a_time(tmp_path: Path) -> None:
    folder = make_model("llama", tmp_path / "large", hidden_size=1024, intermediate_size=5632)
    rows, losses, _ = run(training(folder), tmp_path / "out")
    assert rows == [2] * 6, "chosen and rejected of one pair"
    assert len(losses) == 2, "the batches are those that were asked for"
    assert "parts" not in json.loads((tmp_path / "out" / "lineage.json").read_text()), "memory was not short"


@pytest.mark.parametrize(("objective", "sides"), [("dpo", 2), ("sft", 1)])
def test_pairs_one_by_one_train_what_a_batch_trains(tmp_path: Path, objective: Objective, sides: int) -> None:
    """Also in the last batch, which is not full: its loss is the mean of its own pairs, or of their tokens."""
    folder = model_folder.embedded_folder()
    whole, single = (run(training(folder, parts, objective), tmp_path / str(parts)) for parts in (1, 4))
    assert sorted(set(whole[0]), reverse=True) == [4 * sides, 2 * sides]
    assert set(single[0]) == {sides}
    assert single[1] == pytest.approx(whole[1], abs=1e-4)
    assert all(torch.allclose(single[2][name], weights, atol=2e-4) for name, weights in whole[2].items())


def test_the_reference_reads_pairs_of_alike_lengths_together(tmp_path: Path) -> None:
    prepared = dpo.prepare(training(model_folder.embedded_folder()), str(tmp_path), lambda step, total: None)
    lengths = [
        max(len(row["chosen_ids"]), len(row["rejected_ids"])) for row in cast("Any", prepared.trainer.train_dataset)
    ]
    assert lengths == sorted(lengths, reverse=True)
    assert len(set(lengths)) == len(LENGTHS)


@pytest.mark.parametrize(("objective", "vocabulary"), [("dpo", 1024), ("sft", 1024), ("dpo", 2500)])
def test_logits_of_prompts_and_padding_are_left_out_and_change_nothing(
    tmp_path: Path, objective: Objective, vocabulary: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the vocabulary takes three parts."""
    folder = model_folder.embedded_folder()
    if vocabulary != 1024:
        folder = make_model("llama", tmp_path / "model", vocab_size=vocabulary)
    scored, at_once = list[int](), list[object]()
    computed = trl.trainer.utils._ChunkedLogProbFunction

    class Counted:
        """Counts the tokens whose logits are computed, and those of the vocabulary at once."""

        @staticmethod
        def apply(hidden: torch.Tensor, *args: object) -> object:
            scored.append(len(hidden))
            at_once.append(args[4])
            return computed.apply(hidden, *args)

    monkeypatch.setattr(trl.trainer.utils, "_ChunkedLogProbFunction", Counted)
    alone = run(training(folder, 1, objective), tmp_path / "alone")
    few = sum(scored)
    assert set(at_once) == {1024}
    monkeypatch.setattr(train_module, "logits_for_a_cpu", nullcontext)
    everything = run(training(folder, 1, objective), tmp_path / "everything")
    assert set(at_once) == {1024, trl.trainer.utils._CHUNKED_LOGPROB_CHUNK_SIZE}
    assert trl.trainer.utils._CHUNKED_LOGPROB_CHUNK_SIZE > 8192, "trl has its own number again"
    assert 0 < few < 0.7 * (sum(scored) - few)
    assert alone[1] == pytest.approx(everything[1], abs=1e-4)
    assert all(torch.allclose(alone[2][name], weights, atol=2e-4) for name, weights in everything[2].items())
