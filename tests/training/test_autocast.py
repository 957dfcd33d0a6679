"""A CPU that answers in bfloat16 trains in bfloat16 autocast, over weights that stay in float32."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import load_file

from mipo_bench.harness.config.schema import TrainConfig
from mipo_bench.harness.generators import model_folder
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.protocols import Pair
from mipo_bench.harness.training import dpo
from mipo_bench.harness.training.job import OnStep, Prepared, Training
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.training.train import train
from mipo_bench.harness.types import Message

pytestmark = pytest.mark.training


def training(dtype: str) -> Training:
    """Eight pairs in two steps, with changes of weights that are smaller than bfloat16 can add to most of them."""
    prompt = (Message("user", "tea or music"),)
    pairs = tuple(Pair(str(n), prompt, "tea " * n + "now", "rain " * n + "no") for n in range(1, 9))
    settings = TrainConfig(lr=1e-6, batch_size=4, max_length=256)
    folder, placement = model_folder.embedded_folder(), Placement("cpu", dtype, threads=1)
    return Training(folder, "base", "persona", "mipo-random", 0, PairSet(pairs, {}, "d"), settings, placement)


def trained(dtype: str, out: Path) -> tuple[Mapping[str, float], dict[str, bool]]:
    """The first point of the training curve, and for each weight whether the training moved it."""
    moved: dict[str, bool] = {}

    def prepare(job: Training, scratch: str, on_step: OnStep) -> Prepared:
        prepared = dpo.prepare(job, scratch, on_step)
        model = cast("torch.nn.Module", prepared.trainer.model)
        before = {name: weight.detach().clone() for name, weight in model.named_parameters()}

        def check(log: Sequence[Mapping[str, float]]) -> None:
            assert {weight.dtype for weight in model.parameters()} == {torch.float32}
            moved.update({name: not torch.equal(weight, before[name]) for name, weight in model.named_parameters()})
            prepared.check(log)

        return Prepared(prepared.trainer, prepared.used, prepared.left_out, check)

    out.mkdir()
    train(training(dtype), out, lambda step, total: None, prepare)
    return json.loads((out / "lineage.json").read_text())["curve"][0], moved


def test_a_cpu_that_answers_in_bfloat16_trains_in_autocast_over_float32_weights(tmp_path: Path) -> None:
    exact, _ = trained("float32", tmp_path / "float32")
    rounded, moved = trained("bfloat16", tmp_path / "bfloat16")
    assert moved
    assert all(moved.values())
    assert rounded["loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert rounded["logp_chosen"] == pytest.approx(exact["logp_chosen"], rel=0.02)
    assert rounded["logp_chosen"] != exact["logp_chosen"], "nothing was multiplied in bfloat16"
    saved = load_file(tmp_path / "bfloat16" / "model.safetensors")
    assert {weight.dtype for weight in saved.values()} == {torch.bfloat16}
