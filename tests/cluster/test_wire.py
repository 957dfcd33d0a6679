"""The records between driver and hosts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PosixPath
from threading import Barrier

import pytest

from mipo_bench.harness.cluster.wire import Failed, Link, Piece, difference, pieces_of, put_piece, shared, versions
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
    pieces = [part for part in pieces_of(there, 512) if isinstance(part, Piece)]
    assert [(p.path, p.offset) for p in pieces if p.path != "inner/large"] == [("empty", 0), ("even", 0)]
    assert [p.offset for p in pieces if p.path == "inner/large"] == [0, 512, 1024, 1536, 2048]
    for piece in pieces:
        put_piece(here, piece)
    assert folder_digest(here) == folder_digest(there)
    for piece in pieces:  # a second time, after a first one that broke off
        put_piece(here, piece)
    assert folder_digest(here) == folder_digest(there)


def test_files_in_a_folder_that_all_see_are_linked(tmp_path: Path) -> None:
    there, root, here, further = (tmp_path / name for name in ("there", "root", "here", "further"))
    (there / "inner").mkdir(parents=True)
    (there / "inner" / "weights").write_bytes(b"x" * 100)
    (there / "config").write_text("{}")
    root.mkdir()
    for _ in range(2):  # a second time, the copy is there
        links = list(shared(there, root, "content"))
        assert [link.path for link in links] == ["config", "inner/weights"]
        assert [path.name for path in root.iterdir()] == ["content"]
    for folder in (here, further):  # from the host to the driver, and from the driver to another host
        for link in links:
            put_piece(folder, link)
        links = [part for part in pieces_of(folder) if isinstance(part, Link)]
        assert folder_digest(folder) == folder_digest(there)
        assert (folder / "config").readlink() == root / "content" / "config"


class Meeting(PosixPath):
    """A folder that nobody begins to copy before somebody else does."""

    two = Barrier(2, timeout=30)

    def __fspath__(self) -> str:
        self.two.wait()
        return str(self)


def test_two_hosts_that_share_the_same_checkpoint_at_once_share_one_copy(tmp_path: Path) -> None:
    there, root = tmp_path / "there", tmp_path / "root"
    there.mkdir()
    (there / "weights").write_bytes(b"x" * 100)
    root.mkdir()
    with ThreadPoolExecutor(2) as hosts:  # neither finds the other's copy at first, and both move theirs into place
        done = [hosts.submit(list, shared(Meeting(there), root, "content")) for _ in range(2)]
        both = [host.result() for host in done]
    assert both == [[Link("weights", str(root / "content" / "weights"))]] * 2
    assert [path.name for path in root.iterdir()] == ["content"]
    assert folder_digest(root / "content") == folder_digest(there)


def test_a_folder_that_is_not_seen_or_not_writable_is_an_error_of_the_store(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        put_piece(tmp_path / "here", Link("config", str(tmp_path / "elsewhere" / "config")))
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cluster\.checkpoints = .*every node can write"):
        list(shared(tmp_path / "there", tmp_path / "file", "content"))


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
