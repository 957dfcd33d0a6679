"""Two processes on CPUs (gloo) train to the weights of one process, up to rounding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from small_trainings import FOLDER, ROUNDING, WORKERS, difference, training

from mipo_bench.harness.core.hashing import model_digest
from mipo_bench.harness.errors import TrainingError
from mipo_bench.harness.training.distributed.launch import train_in_processes
from mipo_bench.harness.training.train import train
from mipo_bench.harness.types import Objective

pytestmark = [pytest.mark.training, pytest.mark.slow]
TWO: dict[str, Any] = {"processes": 2, "launch": "ddp"}


def nothing(step: int, total: int) -> None:
    pass


def lineage(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "lineage.json").read_text())
    return found


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    return one, two


@pytest.fixture(scope="module")
def dpo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of one process that trains by DPO on 16 pairs."""
    folder = tmp_path_factory.mktemp("dpo")
    train(training(16), folder, nothing)
    return folder


def losses(folder: Path) -> list[float]:
    return [point["loss"] for point in lineage(folder)["curve"]]


def test_dpo_on_whole_batches_and_the_rest_is_counted(dpo: Path, tmp_path: Path) -> None:
    """accelerate alone would fill the last batch with pairs that were used before."""
    steps: list[tuple[int, int]] = []
    train_in_processes(training(22, **TWO), tmp_path, lambda *step: steps.append(step))
    assert difference(dpo, tmp_path) < ROUNDING
    assert losses(tmp_path) == pytest.approx(losses(dpo), abs=1e-5)
    assert list(dict.fromkeys(steps)) == [(0, 2), (1, 2), (2, 2)]
    assert lineage(tmp_path)["pairs"] == {
        "digest": "digest",
        "used": 16,
        "too_long": 0,
        "discarded": {"identical": 1, "last batch not full": 6},
    }
    assert len((tmp_path / "pairs.jsonl").read_text().splitlines()) == 22
    assert {file.name for file in dpo.iterdir()} == {file.name for file in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("objective", "settings"), [("dpo", {"method": "lora", "lora_rank": 4}), ("sft", {})], ids=["lora", "sft"]
)
def test_lora_and_sft(folders: tuple[Path, Path], objective: Objective, settings: dict[str, Any]) -> None:
    one, two = folders
    train(training(16, objective, **settings), one, nothing)
    train_in_processes(training(16, objective, **settings, **TWO), two, nothing)
    assert difference(one, two) < ROUNDING
    assert losses(two) == pytest.approx(losses(one), abs=1e-5)


def tensors(folder: Path) -> set[str]:
    with safe_open(folder / "model.safetensors", "pt") as file:
        return set(file.keys())


def test_fsdp2_shares_the_weights_and_its_checkpoint_trains_on(dpo: Path, folders: tuple[Path, Path]) -> None:
    two, again = folders
    worker = (str(WORKERS / "fsdp_on_cpu.py"),)
    train_in_processes(training(16, processes=2, launch="fsdp2"), two, nothing, worker)
    assert difference(dpo, two) < ROUNDING
    assert tensors(two) == tensors(dpo) == tensors(FOLDER)  # the embedded model ties its weights
    train(training(16, base=two), again, nothing)
    assert difference(again, dpo, base=two) > 0.1  # it went on from there


def test_without_gpus_fsdp2_is_refused_and_not_ignored(tmp_path: Path) -> None:
    """On a CPU accelerate ignores it in silence, and each process would hold everything."""
    with pytest.raises(TrainingError, match="must be connected as FSDP, but they are as MULTI_CPU, 2 of them"):
        train_in_processes(training(16, processes=2, launch="fsdp2"), tmp_path, nothing)
    assert not list(tmp_path.iterdir())


def test_one_launched_process_gives_the_very_checkpoint_of_this_process(dpo: Path, tmp_path: Path) -> None:
    train_in_processes(training(16, processes=1, launch="ddp"), tmp_path, nothing)
    assert model_digest(tmp_path) == model_digest(dpo)


def test_a_training_for_several_processes_is_refused_in_one(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="for 2 processes, but 1 were started"):
        train(training(16, **TWO), tmp_path, nothing)
