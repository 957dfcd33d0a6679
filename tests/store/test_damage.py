"""Databases that SQLite cannot read, older and newer ones, and stores that cannot be written to."""

from __future__ import annotations

import os
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from golden_files import run
from made_reports import RUNS, checkpoint_key, made_store, write_model

from mipo_bench.harness.errors import StorageError
from mipo_bench.harness.store.database import STORE_SCHEMA, DamagedDatabaseError
from mipo_bench.harness.store.rescue import open_for_run
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.harness.store.upkeep import verify
from mipo_bench.harness.types import Response

SCHEMA_1 = """
CREATE TABLE responses (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, n_prompt INTEGER NOT NULL, n_tokens INTEGER NOT NULL,
    finish TEXT NOT NULL, option_logprobs TEXT, digest TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE checkpoints (key TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (id TEXT PRIMARY KEY, created TEXT NOT NULL, report BLOB NOT NULL, keys BLOB NOT NULL);
PRAGMA user_version=1;
"""


def many(folder: Path, count: int = 600) -> dict[str, Response]:
    rows = {f"k{i:04}": Response(f"response {i} " * 20, 5, 40, "stop") for i in range(count)}
    with closing(Store(folder)) as store:
        store.put_responses(rows.items())
        store.checkpoints.put("model", write_model)
    return rows


def test_a_store_of_schema_1_is_brought_up_to_date(tmp_path: Path) -> None:
    rows = {"a": Response("kept", 3, 1, "stop")}
    with closing(Store(tmp_path / "new")) as store:
        store.put_responses(rows.items())
        store.put_run(StoredRun("r" * 64, "2026-01-01", "{}", [{"item": "a"}]))
        contents = {t: store.database.execute(f"SELECT * FROM {t}") for t in ("responses", "runs")}
    folder = tmp_path / "old"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "store.sqlite")) as db, db:
        db.executescript(SCHEMA_1)
        db.executemany("INSERT INTO responses VALUES (?,?,?,?,?,?,?)", contents["responses"])
        db.executemany("INSERT INTO runs VALUES (?,?,?,?)", [row[:4] for row in contents["runs"]])
    with closing(Store(folder)) as store:
        assert store.responses(["a"]) == rows
        assert [(r.id, r.keys, r.used) for r in store.runs()] == [("r" * 64, [{"item": "a"}], None)]
        assert store.database.execute("PRAGMA user_version") == [(STORE_SCHEMA,)]
    with closing(Store(folder)) as store:
        assert not store.damaged
        assert len(store.runs()) == 1


def damage_head(file: Path) -> None:
    file.write_bytes(b"garbage " * 1000)


def truncate(file: Path) -> None:
    with file.open("r+b") as out:
        out.truncate(file.stat().st_size // 2)


def damage_middle(file: Path) -> None:
    with file.open("r+b") as out:
        out.seek(file.stat().st_size // 2)
        out.write(b"\xff" * 8192)


@pytest.mark.parametrize("spoil", [damage_head, truncate, damage_middle])
def test_a_run_puts_a_damaged_database_aside_and_saves_what_it_can(spoil: object, tmp_path: Path) -> None:
    rows = many(tmp_path)
    file = tmp_path / "store.sqlite"
    assert callable(spoil)
    spoil(file)
    spoilt = file.read_bytes()
    with closing(open_for_run(tmp_path)) as store:
        assert "was put aside as store.sqlite.damaged-" in store.damaged[0]
        saved = store.responses(list(rows))
        assert saved.items() <= rows.items()
        if spoil is not damage_head:
            assert len(saved) > 100
        store.put_responses(rows.items())
        assert store.responses(list(rows)) == rows
        store.checkpoints.put("model", write_model)
        assert store.checkpoints.get("model") is not None
    aside = [f for f in tmp_path.iterdir() if re.fullmatch(r"store\.sqlite\.damaged-\d{8}T\d{6}", f.name)]
    assert [f.read_bytes() for f in aside] == [spoilt]
    with closing(open_for_run(tmp_path)) as store:
        assert not store.damaged


def test_reading_commands_refuse_a_damaged_database_and_leave_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made_store(tmp_path / "store")
    damage_head(folder / "store.sqlite")
    before = (folder / "store.sqlite").read_bytes()
    for command in ("store ls", "store gc", "history", "show abcdef"):
        refused = run(f"{command} --store {folder}", capsys)
        assert refused.code == 2, command
        assert "is damaged" in refused.err
        assert "store verify --drop" in refused.err
    found = run(f"store verify --store {folder}", capsys)
    assert (found.code, found.out.startswith("damaged: the run store")) == (1, True)
    assert (folder / "store.sqlite").read_bytes() == before
    assert "was put aside" in run(f"store verify --drop --store {folder}", capsys).out
    assert run(f"store ls --store {folder}", capsys).code == 0


def test_a_database_in_use_is_not_put_aside(tmp_path: Path) -> None:
    many(tmp_path)
    with closing(Store(tmp_path)) as other:
        other.claims.join()
        damage_head(tmp_path / "store.sqlite")
        with pytest.raises(StorageError, match=rf"at work on the damaged store .* \(process {os.getpid()}\)"):
            open_for_run(tmp_path)
        other.database._db.close()  # the rest of the file is garbage
        assert other.claims._lock
        other.claims._lock.release()
        other.claims._lock = None


def test_an_empty_database_file_is_a_new_store(tmp_path: Path) -> None:
    rows = many(tmp_path)
    (tmp_path / "store.sqlite").write_bytes(b"")
    (tmp_path / "checkpoints" / "model" / "config.json").write_text("forged")
    with closing(open_for_run(tmp_path)) as store:
        assert not store.responses(list(rows))
        assert store.checkpoints.get("model") is None
        made = store.checkpoints.put("model", write_model)  # a folder without a row is replaced
        assert (made.folder / "config.json").read_text() == "{}"


def test_what_stands_in_a_checkpoints_place_is_replaced(tmp_path: Path) -> None:
    many(tmp_path)
    place, aside = tmp_path / "checkpoints" / "model", tmp_path / "aside"
    place.rename(aside)
    (aside / "config.json").write_text("forged")
    for put in (lambda: place.symlink_to(aside), lambda: place.write_text("a file")):
        put()
        with closing(Store(tmp_path)) as store:
            assert store.checkpoints.get("model") is None
            assert store.checkpoints.put("model", write_model).folder == place
            assert store.checkpoints.get("model") is not None
        shutil.rmtree(place)
    assert (aside / "config.json").read_text() == "forged"


def test_files_that_cannot_be_read_are_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many(tmp_path)

    def refused(folder: Path) -> str:
        raise PermissionError(13, "Permission denied", str(folder / "config.json"))

    monkeypatch.setattr(verify, "folder_digest", refused)
    with closing(Store(tmp_path)) as store:
        assert "its files cannot be read ([Errno 13]" in verify.verify(store).damaged[0][2]


def test_a_damaged_page_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    rows = many(tmp_path)
    damage_middle(tmp_path / "store.sqlite")
    with closing(Store(tmp_path)) as store, pytest.raises(DamagedDatabaseError, match=r"store verify --drop"):
        store.responses(list(rows))


def test_a_damaged_run_is_left_out_until_verify_drops_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made_store(tmp_path / "store")
    with closing(sqlite3.connect(folder / "store.sqlite")) as db, db:
        db.execute("UPDATE runs SET keys = report WHERE id = ?", (RUNS[0].report().digest,))
    with closing(Store(folder)) as store:
        assert [r.id for r in store.runs()] == [RUNS[1].report().digest]
        assert (store.damaged_runs(), store.damaged_runs("ffff")) == (1, 0)
        assert store.checkpoints.get(checkpoint_key(0)) is not None
    for _ in range(2):  # listing deletes nothing
        assert "! 1 damaged run left out: `mipo-bench store verify`" in run(f"store ls --store {folder}", capsys).out
    assert run(f"store verify --drop --store {folder}", capsys).code == 0
    assert "left out" not in run(f"store ls --store {folder}", capsys).out


FULL = """
import resource, sys
from pathlib import Path
from mipo_bench.harness.errors import StorageError
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.training.train import storage_errors
from mipo_bench.harness.types import Response

def write(folder):
    with storage_errors(folder):
        (folder / "weights").write_bytes(b"x" * 300_000)

store = Store(Path(sys.argv[1]))
store.put_responses([("before", Response("kept", 1, 1, "stop"))])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    for i in range(1000):
        store.put_responses([(f"k{i}", Response("x" * 1000, 1, 1, "stop"))])
except StorageError as error:
    print("rows:", error)
try:
    store.checkpoints.put("model", write)
except StorageError as error:
    print("checkpoint:", error)
print(sorted(p.name for p in (store.folder / "checkpoints").iterdir()))
"""


@pytest.mark.slow
def test_a_full_disk_is_one_message_and_loses_nothing(tmp_path: Path) -> None:
    """A limit on the size of files simulates a full disk: SQLite and Python get the same kind of error."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "rows: cannot write to the run store" in done.stdout
    assert "All earlier results are kept: make room on its disk" in done.stdout
    assert "checkpoint: cannot write the checkpoint" in done.stdout
    assert done.stdout.rstrip().endswith("[]")
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    with closing(open_for_run(tmp_path)) as store:
        assert not store.damaged
        found = store.responses(["before", *(f"k{i}" for i in range(1000))])
        assert 1 < len(found) < 1000
        assert found["before"] == Response("kept", 1, 1, "stop")


READ = """
import os, sys
from pathlib import Path
from mipo_bench.harness.errors import StorageError
from mipo_bench.harness.store.run_store import Store
if os.getuid() == 0:  # root may write everywhere
    os.setgid(65534); os.setuid(65534)
try:
    Store(Path(sys.argv[1])).responses(["a"])
except StorageError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_read_only_store_is_one_message(mode: int, tmp_path: Path) -> None:
    many(tmp_path / "store")
    outside = [tmp_path, *(p for p in tmp_path.parents if p.stat().st_uid == os.getuid() and p != Path("/"))]
    modes = {p: p.stat().st_mode for p in outside}
    before = (tmp_path / "store" / "store.sqlite").read_bytes()
    try:
        for path in outside:
            path.chmod(path.stat().st_mode | 0o055)
        for path in [*(tmp_path / "store").rglob("*"), tmp_path / "store"]:
            path.chmod(mode)
        done = subprocess.run(
            [sys.executable, "-c", READ, str(tmp_path / "store")],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        for path in [tmp_path / "store", *(tmp_path / "store").rglob("*")]:
            path.chmod(0o755)
        for path, old in modes.items():
            path.chmod(old)
    assert done.returncode == 0, done.stderr
    assert re.search("cannot (open|use|be written)", done.stdout), done.stdout
    assert "--set store=DIR" in done.stdout
    assert (tmp_path / "store" / "store.sqlite").read_bytes() == before


def test_what_was_put_aside_is_never_overwritten(tmp_path: Path) -> None:
    for _ in range(3):
        many(tmp_path, 5)
        damage_head(tmp_path / "store.sqlite")
        open_for_run(tmp_path).close()
    assert len([f for f in tmp_path.glob("store.sqlite.damaged-*") if not f.name.endswith(("-wal", "-shm"))]) == 3
