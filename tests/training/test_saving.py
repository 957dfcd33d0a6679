"""A finished training is never lost to the files beside the weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from real_models import make_chat_model
from transformers import AutoModelForCausalLM

from mipo_bench.harness.config.schema import ChatConfig, TrainConfig
from mipo_bench.harness.core.hashing import folder_digest
from mipo_bench.harness.errors import TrainingError
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.protocols import Pair
from mipo_bench.harness.training.job import Training
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.training.train import train
from mipo_bench.harness.training.trainer_setup import check_savable
from mipo_bench.harness.types import Message

pytestmark = pytest.mark.training
PAIRS = tuple(Pair(f"i{n}", (Message("user", f"question {n}"),), f"yes {n}", f"no {n}") for n in range(4))


def trained(base: Path, out: Path, method: str = "full") -> Path:
    settings = TrainConfig.model_validate({"lr": 1e-3, "batch_size": 2, "max_length": 400, "method": method})
    data = PairSet(PAIRS, {}, "digest")
    placement = Placement(threads=1, chat=ChatConfig())
    out.mkdir()
    train(Training(base, "base", "task", "recipe", 0, data, settings, placement), out, lambda step, total: None)
    return out


@pytest.mark.parametrize("method", ["full", "lora"])
def test_sampling_settings_that_contradict_each_other_cost_no_training(method: str, tmp_path: Path) -> None:
    contradictory = {"eos_token_id": [1, 3], "do_sample": False, "temperature": 0.9, "top_p": 0.6}
    base = make_chat_model(tmp_path / "base", generation=contradictory)
    out = trained(base, tmp_path / "out", method)
    assert json.loads((out / "generation_config.json").read_text())["eos_token_id"] == [1, 3]
    assert AutoModelForCausalLM.from_pretrained(out).config.vocab_size == 261


def test_a_base_without_special_tokens_is_trained(tmp_path: Path) -> None:
    base = make_chat_model(tmp_path / "base", names={}, generation={}, bos_token_id=None, eos_token_id=None)
    assert (trained(base, tmp_path / "out") / "model.safetensors").exists()


def test_a_checkpoint_is_the_same_offline_and_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained(make_chat_model(tmp_path / "base"), tmp_path / "out")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    second = trained(make_chat_model(tmp_path / "elsewhere"), tmp_path / "again")
    assert folder_digest(second) == folder_digest(first)


@dataclass
class Unsavable:
    """A tokenizer whose files cannot be written."""

    def save_pretrained(self, folder: Path) -> None:
        raise ValueError(f"no vocabulary file to copy to {folder.name}")


def test_files_that_cannot_be_saved_are_refused_before_the_training(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(make_chat_model(tmp_path / "base"))
    with pytest.raises(TrainingError, match="is not trained: ValueError: no vocabulary file"):
        check_savable(model, Unsavable(), str(tmp_path))
