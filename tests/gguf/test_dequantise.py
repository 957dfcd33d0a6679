"""A GGUF file as a model: its weights, its key, and a run with it."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_files import run
from real_models import PLAIN, make_gguf, make_model
from real_runs import mipo
from transformers import AutoTokenizer, PreTrainedModel

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.core.hashing import model_digest
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.generators.hf_generator import load_model
from mipo_bench.harness.generators.model_folder import parameters, resolve_model
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.gguf.dequantise import dequantised, dequantised_before, notes_on
from mipo_bench.harness.run.preflight import can_start, examine

PLACEMENT = Placement(threads=1, batch_size=4)
ERROR = {"F32": 0.0, "F16": 1e-3, "Q8_0": 1 / 127, "Q4_1": 1 / 12}
"""Format -> the largest error of a weight that rounding can make, as a share of the largest weight."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small.gguf, and with a store that has its model."""
    folder = tmp_path_factory.mktemp("gguf")
    make_gguf(folder / "small.gguf")
    dequantised(folder / "small.gguf", folder / "store")
    return folder


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(model(torch.arange(5, 60)[None]).logits)


@pytest.mark.parametrize("number_format", ERROR)
def test_the_weights_are_those_of_the_file(number_format: str, tmp_path: Path) -> None:
    original = make_gguf(tmp_path / "model.gguf", number_format)
    folder = resolve_model(str(tmp_path / "model.gguf"), tmp_path / "store")
    model = load_model(folder, PLACEMENT)
    found = model.state_dict()
    for name, weights in original.state_dict().items():
        limit = ERROR[number_format] * float(weights.abs().max())
        assert float((found[name] - weights).abs().max()) <= limit, name
    assert {weights.dtype for weights in found.values()} == {torch.float32}
    assert parameters(folder) == 26_976
    if number_format == "F32":
        assert torch.equal(logits(model), logits(original))


def test_tokenizer_template_and_ends_are_those_of_the_file(place: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(resolve_model(str(place), place / "store"))
    assert tokenizer.chat_template == PLAIN
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("</s>", "<|pad|>")
    text = "<|turn|>user\nthe cat, 12"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode("the")) == 2  # the merge of t and h


def test_the_same_file_elsewhere_is_the_same_model(place: Path, tmp_path: Path) -> None:
    shutil.copy(place / "small.gguf", tmp_path / "renamed.gguf")
    folder = dequantised(place / "small.gguf", place / "store")
    assert dequantised_before(tmp_path / "renamed.gguf", place / "store") == folder
    assert model_digest(dequantised(tmp_path / "renamed.gguf", tmp_path / "store")) == model_digest(folder)


def test_neighbours_of_the_file_are_not_read(place: Path, tmp_path: Path) -> None:
    make_model("qwen2", tmp_path / "folder", seed=1)
    (tmp_path / "folder" / "model.safetensors").unlink()
    shutil.copy(place / "small.gguf", tmp_path / "folder")
    folder = resolve_model(str(tmp_path / "folder"), tmp_path / "store")
    assert model_digest(folder) == model_digest(dequantised(place / "small.gguf", place / "store"))


def test_the_work_is_announced_once(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        dequantised(place / "small.gguf", tmp_path / "store")
    line = f"small.gguf: dequantising it once (0 MB in float32), to {tmp_path / 'store' / 'models'}"
    assert [said for said in capsys.readouterr().err.splitlines() if "dequantising" in said] == [f"mipo-bench: {line}"]


@pytest.mark.parametrize(
    ("metadata", "note"),
    [
        ({}, "dequantised from a GGUF file (Q8_0, F32)"),
        ({"tokenizer__ggml__pre": "smollm"}, "splits text (smollm)"),
        ({"llama__rope__scaling__type": "yarn"}, "rotary embedding in the GGUF file (yarn)"),
    ],
)
def test_the_report_says_what_may_differ(metadata: dict[str, Any], note: str, tmp_path: Path) -> None:
    make_gguf(tmp_path / "model.gguf", **metadata)
    notes = notes_on(dequantised(tmp_path / "model.gguf", tmp_path / "store"))
    assert len(notes) == 1 + bool(metadata)
    assert note in notes[-1]


def llama3_divisors(factor: float) -> list[float]:
    """The divisors that llama.cpp's converter writes for a head of 16 dimensions and a base of 10,000."""
    found = []
    for n in range(8):
        wave_length = 2 * math.pi * 10_000 ** (n / 8)
        smooth = (8192 / wave_length - 1) / (4 - 1)
        found.append(1 / ((1 - min(max(smooth, 0), 1)) / factor + min(max(smooth, 0), 1)))
    return found


@pytest.mark.parametrize(("off", "kind"), [(0.0, "llama3"), (0.5, "default")])
def test_the_rotary_embedding_of_llama_3_is_scaled(off: float, kind: str, tmp_path: Path) -> None:
    divisors = np.array(llama3_divisors(32.0), np.float32)
    assert sorted({1.0, 32.0} & set(divisors.tolist())) == [1.0, 32.0]
    divisors[3] += off
    make_gguf(tmp_path / "model.gguf", tensors={"rope_freqs.weight": divisors})
    folder = dequantised(tmp_path / "model.gguf", tmp_path / "store")
    assert json.loads((folder / "config.json").read_text())["rope_parameters"]["rope_type"] == kind
    assert [note for note in notes_on(folder) if "rope_freqs.weight" in note] == notes_on(folder)[1:]
    assert len(notes_on(folder)) == 1 + bool(off)
    if not off:
        frequencies = load_model(folder, PLACEMENT).model.rotary_emb.inv_freq.numpy()
        assert np.allclose(frequencies, 10_000.0 ** -(np.arange(8) / 8) / divisors, rtol=1e-4)


def test_a_file_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    make_gguf(tmp_path / "model.gguf", tensors={"blk.1.ffn_up.weight": None})
    with pytest.raises(ModelError, match=r"would be random: model\.layers\.1\.mlp\.up_proj\.weight \(1 in all\)"):
        dequantised(tmp_path / "model.gguf", tmp_path / "store")


def test_an_architecture_that_transformers_does_not_know_is_refused(tmp_path: Path) -> None:
    make_gguf(tmp_path / "model.gguf", general__architecture="plamo")
    with pytest.raises(ModelError, match=r"architecture plamo is not supported.*gemma2, .*llama-server -m") as refused:
        dequantised(tmp_path / "model.gguf", tmp_path / "store")
    assert "\n" not in str(refused.value)
    assert [path.name for path in (tmp_path / "store" / "models").iterdir()] == [".making"]


def test_doctor_writes_nothing(place: Path, tmp_path: Path) -> None:
    options = {
        "model": str(place / "small.gguf"),
        "out": tmp_path / "out",
        "tasks": ("facts",),
        "recipes": ("mipo-random",),
    }
    found = list(examine(load_config(None, [f"store={tmp_path / 'store'}"], options)))
    texts = [f"{finding.state} {finding.what}: {finding.text}" for finding in found]
    assert can_start(found)
    assert any("the run dequantises it once (0.0 GB in" in text for text in texts)
    assert any("3 checkpoints and the dequantised model" in text for text in texts)
    assert any(text.startswith("warn model: the weights were dequantised") for text in texts)
    assert list(tmp_path.iterdir()) == []
    found = list(examine(load_config(None, [f"store={place / 'store'}"], options)))
    assert any(f"dequantised in {place / 'store' / 'models'}" in finding.text for finding in found)


def test_the_plan_needs_no_conversion(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = run(f"run --dry-run --task facts --model {place / 'small.gguf'} --set store={tmp_path / 'store'}", capsys)
    assert (done.code, "small.gguf, 7 arms" in done.out) == (0, True)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_file_is_one_message(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cut.gguf").write_bytes((place / "small.gguf").read_bytes()[:20_000])
    options = f"--set store={tmp_path / 'store'} --out {tmp_path / 'out'} --set processes=1"
    done = run(f"run --task facts --model {tmp_path / 'cut.gguf'} {options}", capsys)
    assert (done.code, done.out) == (2, "")
    assert "cut.gguf is a truncated or damaged GGUF file" in done.err
    assert "Traceback" not in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["cut.gguf"]


RUN = ["run", "--task", "facts", "--limit", "4", "--set", "processes=1", "--set", "threads=1", "--model", "small.gguf"]


@pytest.mark.slow
def test_a_run_with_prompting_arms(place: Path) -> None:
    done = mipo(*RUN, "--recipes", "none", "--set", "decoding.max_new_tokens=8", folder=place)
    assert done.returncode == 0, done.stderr
    report = json.loads((place / "mipo-bench-report" / "report.json").read_text())
    assert report["model"]["name"] == "small.gguf"
    assert report["model"]["digest"] == model_digest(dequantised(place / "small.gguf", place / ".mipo-bench"))
    assert any("dequantised from a GGUF file" in note for note in report["notes"])


@pytest.mark.slow
@pytest.mark.training
def test_a_run_with_a_training(place: Path) -> None:
    few = ["--recipes", "mipo-random", "--seeds", "1", "--baselines", "plain", "--set", "decoding.max_new_tokens=200"]
    done = mipo(*RUN, *few, folder=place)
    assert done.returncode == 0, done.stderr
    report = json.loads((place / "mipo-bench-report" / "report.json").read_text())
    assert [checkpoint["recipe"] for checkpoint in report["checkpoints"]] == ["mipo-random"]
