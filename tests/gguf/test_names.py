"""The names of GGUF models: a file, a folder, a file of a repository on the hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.generators.model_folder import check_model, resolve_model
from mipo_bench.harness.gguf.names import GgufName, gguf_name


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "small.Q4_1.gguf"
    found.write_bytes(b"GGUF")
    return found


def test_a_file_and_its_folder_name_the_same_model(file: Path) -> None:
    assert gguf_name(str(file)) == gguf_name(str(file.parent)) == GgufName(str(file))
    assert gguf_name(f"{file.parent}:{file.name}") == GgufName(str(file))


def test_endings_in_capitals_count(tmp_path: Path) -> None:
    (tmp_path / "SMALL.GGUF").write_bytes(b"GGUF")
    assert gguf_name(str(tmp_path)) == gguf_name(str(tmp_path / "SMALL.GGUF")) == GgufName(str(tmp_path / "SMALL.GGUF"))


def test_a_file_of_a_repository_is_named_with_a_colon() -> None:
    assert gguf_name("owner/name:small.gguf") == GgufName("small.gguf", "owner/name")
    assert gguf_name("owner/name:Q4/small.gguf") == GgufName("Q4/small.gguf", "owner/name")


@pytest.mark.parametrize("model", ["embedded", "owner/name", "owner/name-gguf", "answers.jsonl"])
def test_other_models_are_none(model: str) -> None:
    assert gguf_name(model) is None


def test_a_folder_with_safetensors_is_a_model_folder(file: Path) -> None:
    (file.parent / "model.safetensors").write_bytes(b"")
    assert gguf_name(str(file.parent)) is None


def test_a_folder_with_several_files_lists_them(file: Path) -> None:
    (file.parent / "small.Q8_0.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"2 GGUF files: small\.Q4_1\.gguf, small\.Q8_0\.gguf\. Name one: --model /"):
        check_model(str(file.parent))


@pytest.mark.parametrize("model", ["models/of/mine.gguf", "./a/b:mine.gguf", "owner/mine.gguf", "mine.gguf"])
def test_a_file_that_does_not_exist_is_refused(model: str) -> None:
    with pytest.raises(ModelError, match=r"there is no GGUF file .*OWNER/NAME:FILE\.gguf"):
        check_model(model)


def test_a_file_of_the_hub_without_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    check_model("nobody/no-such-model:small.gguf")
    with pytest.raises(ModelError, match=r"small\.gguf of nobody/no-such-model is neither here .*copy the file here"):
        resolve_model("nobody/no-such-model:small.gguf", tmp_path)
    assert list(tmp_path.iterdir()) == []
