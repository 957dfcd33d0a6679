"""On GPUs: a launched training, with as many processes as there are GPUs, against one in this process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainings import difference, training

from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.training.distributed.launch import train_in_processes
from mipo_bench.harness.training.job import Training
from mipo_bench.harness.training.train import train
from mipo_bench.harness.types import Objective

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
ALLOWED = {"ddp": 0.02, "fsdp2": 0.2}
"""Largest difference of the weights: both compute in bfloat16, and FSDP2 rounds in other places than autocast does."""


def on_gpu(objective: Objective, **settings: Any) -> Training:
    job = training(16, objective, **settings)
    return replace(job, placement=Placement("cuda", "float32", gpu="some GPU"))


@pytest.mark.parametrize("launch", list(ALLOWED))
@pytest.mark.parametrize(
    ("objective", "settings"),
    [("dpo", {}), ("dpo", {"method": "lora", "lora_rank": 4}), ("sft", {})],
    ids=["dpo", "lora", "sft"],
)
def test_launched_processes_train_as_this_one(
    tmp_path: Path, launch: str, objective: Objective, settings: dict[str, Any]
) -> None:
    one, launched = tmp_path / "one", tmp_path / "launched"
    for folder in (one, launched):
        folder.mkdir()
    train(on_gpu(objective, **settings), one, lambda step, total: None)
    several = on_gpu(objective, **settings, processes=torch.cuda.device_count(), launch=launch)
    train_in_processes(several, launched, lambda step, total: None)
    curves = [json.loads((folder / "lineage.json").read_text())["curve"] for folder in (one, launched)]
    found = difference(one, launched)
    print(
        f"{objective} {settings} {launch}: {found:.1e} of the update, losses {[[p['loss'] for p in c] for c in curves]}"
    )
    assert curves[0][0]["loss"] == pytest.approx(curves[1][0]["loss"], abs=0.01)
    assert found < ALLOWED[launch]
