"""The run store: results come back unchanged, and damage is found."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from mipo_bench.harness.core.hashing import file_digest
from mipo_bench.harness.errors import StorageError
from mipo_bench.harness.store.database import STORE_SCHEMA
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.harness.types import Response

RESPONSES = {
    "a": Response("plain", 3, 1, "stop"),
    "b": Response("", 3, 0, "overflow"),
    "c": Response("x\n\x1b[31m é 😀", 9, 4, "length", (-0.1, -1e-300, -2.5)),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def write_model(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")


def test_responses_round_trip(store: Store) -> None:
    store.put_responses(RESPONSES.items())
    assert store.responses([*RESPONSES, "missing"]) == RESPONSES


def test_many_keys_at_once(store: Store) -> None:
    rows = {f"k{i}": Response(str(i), 1, 1, "stop") for i in range(2345)}
    store.put_responses(rows.items())
    assert store.responses(list(rows)) == rows


def test_a_damaged_row_is_named_and_dropped(store: Store) -> None:
    store.put_responses(RESPONSES.items())
    with sqlite3.connect(store.folder / "store.sqlite") as db:
        db.execute("UPDATE responses SET text = 'forged' WHERE key = 'a'")
    assert set(store.responses(list(RESPONSES))) == {"b", "c"}
    assert store.damaged == ["response a"]
    assert set(store.responses(list(RESPONSES))) == {"b", "c"}


def test_checkpoints_round_trip(store: Store) -> None:
    made = store.checkpoints.put("key", write_model)
    assert store.checkpoints.get("key") == made
    assert (made.folder / "model.safetensors").read_bytes() == b"weights"
    assert store.checkpoints.get("other") is None


def test_a_damaged_checkpoint_is_named_and_dropped(store: Store) -> None:
    made = store.checkpoints.put("key", write_model)
    (made.folder / "model.safetensors").write_bytes(b"forged")
    assert store.checkpoints.get("key") is None
    assert store.damaged == ["checkpoint key"]


def test_a_failed_checkpoint_leaves_nothing(store: Store) -> None:
    def fail(folder: Path) -> None:
        write_model(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.checkpoints.put("key", fail)
    assert store.checkpoints.get("key") is None
    assert not list((store.folder / "checkpoints").iterdir())


def test_a_checkpoint_without_its_row_is_written_again(store: Store) -> None:
    """A crash between moving the folder and recording it."""
    store.checkpoints.put("key", write_model)
    with sqlite3.connect(store.folder / "store.sqlite") as db:
        db.execute("DELETE FROM checkpoints")
    assert store.checkpoints.get("key") is None
    assert store.checkpoints.put("key", write_model) == store.checkpoints.get("key")


def test_a_newer_store_is_refused(store: Store) -> None:
    with sqlite3.connect(store.folder / "store.sqlite") as db:
        db.execute(f"PRAGMA user_version = {STORE_SCHEMA + 1}")
    with pytest.raises(StorageError, match="newer mipo-bench"):
        Store(store.folder)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_text("not a database " * 100)
    with pytest.raises(StorageError, match=r"is damaged.*store verify --drop"):
        Store(tmp_path)


def test_a_store_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot open the run store"):
        Store(tmp_path / "file" / "store")


def test_two_stores_on_one_folder_see_each_others_rows(store: Store) -> None:
    other = Store(store.folder)
    store.put_responses([("a", RESPONSES["a"])])
    other.put_responses([("b", RESPONSES["b"])])
    assert set(store.responses(["a", "b"])) == set(other.responses(["a", "b"])) == {"a", "b"}


def test_a_checkpoint_that_another_process_finished_first_stands(store: Store) -> None:
    other = Store(store.folder)

    def slow(folder: Path) -> None:
        other.checkpoints.put("key", write_model)
        write_model(folder)

    made = store.checkpoints.put("key", slow)
    assert store.checkpoints.get("key") == other.checkpoints.get("key") == made
    assert [f.name for f in (store.folder / "checkpoints").iterdir()] == ["key"]


def test_runs_stay_in_the_order_in_which_they_were_recorded(store: Store) -> None:
    """A clock that jumps back must not make the latest run the oldest: `gc --keep` would take it."""
    for name, created in (("c", "2026-03-01"), ("a", "2031-01-01"), ("b", "1999-01-01")):
        store.put_run(StoredRun(name, created, "{}", []))
    assert [run.id for run in store.runs()] == ["c", "a", "b"]
    store.database.execute("VACUUM")
    assert [run.id for run in store.runs()] == ["c", "a", "b"]


def test_a_large_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    """A large file is hashed for the folder digest and for the model digest, but read only once."""
    file = tmp_path / "model.safetensors"
    with file.open("wb") as out:
        out.truncate(65 * 1024 * 1024)
    first, was = file_digest(file), file.stat()
    with file.open("r+b") as out:
        out.write(b"x")
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))  # only a second reading could notice the change
    assert file_digest(file) == first
    os.utime(file)
    assert file_digest(file) != first
