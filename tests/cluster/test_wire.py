"""The records between driver and hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from mipo_bench.harness.cluster.wire import Failed, Piece, difference, pieces_of, put_piece, versions
from mipo_bench.harness.core.hashing import folder_digest
from mipo_bench.harness.errors import ModelError, StageError, StorageError, TrainingError, UserError


@pytest.mark.parametrize("error", [TrainingError("diverged"), ModelError("no folder"), StorageError("full: disk")])
def test_own_errors_keep_their_type_and_text(error: Exception) -> None:
    again = Failed.of(error).error()
    assert (type(again), str(again)) == (type(error), str(error))


def test_other_errors_keep_their_name_and_fail_one_arm_only() -> None:
    again = Failed.of(ZeroDivisionError("division by zero")).error()
    assert (type(again).__name__, str(again)) == ("ZeroDivisionError", "division by zero")
    assert isinstance(again, StageError)
    assert not isinstance(again, UserError)


def test_a_folder_arrives_as_it_was(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    (there / "inner").mkdir(parents=True)
    (there / "empty").write_bytes(b"")
    (there / "inner" / "large").write_bytes(bytes(range(256)) * 10)
    (there / "even").write_bytes(b"x" * 512)
    pieces = list(pieces_of(there, 512))
    assert [(p.path, p.offset) for p in pieces if p.path != "inner/large"] == [("empty", 0), ("even", 0)]
    assert [p.offset for p in pieces if p.path == "inner/large"] == [0, 512, 1024, 1536, 2048]
    for piece in pieces:
        put_piece(here, piece)
    assert folder_digest(here) == folder_digest(there)
    for piece in pieces:  # a second time, after a first one that broke off
        put_piece(here, piece)
    assert folder_digest(here) == folder_digest(there)


def test_a_disk_that_refuses_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write the checkpoint"):
        put_piece(tmp_path / "file", Piece("model.safetensors", 0, b""))


def test_versions_that_differ_are_named() -> None:
    ours = versions()
    assert {"python", "torch", "mipo-bench", "code of mipo-bench"} <= set(ours)
    assert difference(ours, dict(ours)) == ""
    theirs = {**ours, "torch": "2.1.0"}
    del theirs["trl"]
    assert difference(ours, theirs) == f"torch 2.1.0 instead of {ours['torch']}, trl None instead of {ours['trl']}"
