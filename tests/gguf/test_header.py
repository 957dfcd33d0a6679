"""GGUF files that cannot be dequantised: each is refused with one message that says why, before any weight is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from real_models import make_gguf

from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.gguf.header import check_magic, read_header


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("gguf") / "sound.gguf"
    make_gguf(file, "Q4_1")
    return file


def refused(file: Path) -> str:
    with pytest.raises(ModelError) as error:
        read_header(file)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_sound_file_is_read(sound: Path) -> None:
    header = read_header(sound)
    assert (header.architecture, header.types, header.splitting) == ("llama", ("Q4_1", "F32"), "gpt-2")
    assert (header.parameters, header.dequantised_bytes) == (26_976, 4 * 26_976)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "begins with b'vers'.*its pointer"),
        (b"PK\x03\x04", "is no GGUF file"),
    ],
)
def test_a_file_of_another_kind(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "other.gguf").write_bytes(content)
    with pytest.raises(ModelError, match=reason):
        check_magic(tmp_path / "other.gguf")


@pytest.mark.parametrize("share", [0.0005, 0.01, 0.2, 0.6, 0.999])
def test_a_truncated_file(share: float, sound: Path, tmp_path: Path) -> None:
    content = sound.read_bytes()
    (tmp_path / "cut.gguf").write_bytes(content[: max(4, int(share * len(content)))])
    message = refused(tmp_path / "cut.gguf")
    assert "truncated or damaged" in message
    assert "download it again" in message


def test_a_file_of_a_newer_version(sound: Path, tmp_path: Path) -> None:
    content = sound.read_bytes()
    (tmp_path / "new.gguf").write_bytes(content[:4] + b"\x63\0\0\0" + content[8:])
    assert "is GGUF v99" in refused(tmp_path / "new.gguf")


def test_a_part_of_a_split_model(tmp_path: Path) -> None:
    make_gguf(named := tmp_path / "big-00001-of-00003.gguf")
    make_gguf(marked := tmp_path / "renamed.gguf", split__count=2, split__no=1)
    assert "is part 1 of 3 of one model. Join the parts: `llama-gguf-split --merge" in refused(named)
    assert "is part 2 of 2" in refused(marked)


def test_a_file_without_a_template(tmp_path: Path) -> None:
    make_gguf(tmp_path / "base.gguf", template=None)
    assert "has no chat template" in refused(tmp_path / "base.gguf")


@pytest.mark.parametrize("kind", ["adapter", "mmproj"])
def test_a_file_that_holds_no_model(kind: str, tmp_path: Path) -> None:
    make_gguf(tmp_path / "part.gguf", general__type=kind)
    assert f"holds no language model, but {kind!r}" in refused(tmp_path / "part.gguf")


def test_an_unknown_number_format(tmp_path: Path) -> None:
    make_gguf(tmp_path / "odd.gguf", tensors={"odd.weight": np.zeros(4)})
    message = refused(tmp_path / "odd.gguf")
    assert "odd.weight is quantised as F64" in message
    assert "Known: BF16, F16, F32" in message
    assert "llama-server -m" in message


def test_the_missing_package_is_named(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    assert "pip install 'mipo-bench[gguf]'" in refused(sound)
