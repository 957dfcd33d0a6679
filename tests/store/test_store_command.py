"""Golden files of `mipo-bench store` on a made store. `golden_files` says how to rewrite them."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from golden_files import check_golden, run
from made_reports import HOSTILE, RUNS, checkpoint_key, keys_of, made_store

from mipo_bench.harness.core.file_locks import Lock, startup_lock
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.upkeep.garbage import Removed, collect


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    return made_store(tmp_path / "store")


def change(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "store.sqlite")) as db, db:
        assert db.execute(statement).rowcount == 1


def damage(folder: Path) -> None:
    """A store with one entry of each kind."""
    change(folder, f"UPDATE responses SET text = 'forged' WHERE key = '{digest(['pair'])}'")
    change(folder, "UPDATE likelihoods SET logprob = 0")
    change(folder, f"UPDATE runs SET created = 'never' WHERE id = '{RUNS[1].report().digest}'")
    (folder / "checkpoints" / checkpoint_key(0) / "config.json").write_text("forged")


def steady(text: str) -> str:
    """The text without the parts that depend on the version of SQLite or of the report's schema."""
    for number, made in enumerate(RUNS):
        text = text.replace(made.report().digest[:12], f"run-{number}-------")
    return re.sub(r"(on disk +)[0-9.]+ kB", r"\1(size)", text)


COMMANDS = {
    "ls": "store ls --store store",
    "verify": "store verify --store store",
    "gc-dry-run": "store gc --store store --keep 1 --dry-run",
    "export": "store export out.jsonl --store store --run {run}",
    "export-unknown-run": "store export out.jsonl --store store --run ffff",
    "export-unknown-arm": "store export out.jsonl --store store --task arithmetic --arm plane",
    "export-unknown-format": "store export out.csv --store store",
    "no-store": "store ls --store absent",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_printed(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = COMMANDS[name].format(run=RUNS[0].report().digest[:12])
    text = run(command, capsys).text(command)
    check_golden(f"store/{name}.txt", steady(text))


def test_damage_is_named_and_dropped(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(folder)
    found = run("store verify --store store", capsys)
    check_golden("store/verify-damaged.txt", steady(found.text("store verify --store store")))
    dropped = run("store verify --store store --drop", capsys)
    check_golden("store/verify-drop.txt", steady(dropped.text("store verify --store store --drop")))
    assert run("store verify --store store", capsys).code == 0
    with closing(Store(folder)) as store:
        assert len(store.runs()) == 1
        assert store.checkpoints.get(checkpoint_key(0)) is None
        assert store.checkpoints.get(checkpoint_key(1)) is not None


def test_gc_keeps_what_the_kept_run_used(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = run("store gc --store store --keep 1", capsys)
    check_golden("store/gc.txt", done.text("store gc --store store --keep 1"))
    report = RUNS[1].report()
    keys = {key for arm in keys_of(report, 1) for key in arm.values()}
    with closing(Store(folder)) as store:
        assert {row[0] for row in store.database.execute("SELECT key FROM responses")} == keys
        assert [r.id for r in store.runs()] == [report.digest]
        assert store.checkpoints.get(checkpoint_key(1)) is not None
    assert [f.name for f in (folder / "checkpoints").iterdir()] == [checkpoint_key(1)]
    assert run("store gc --store store", capsys).out.startswith("removed 0 runs, 0 responses")


def test_gc_waits_for_runs_at_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(Store(folder)) as other:
        other.claims.join()
        refused = run("store gc --store store", capsys)
        assert refused.code == 2
        assert f"a run is at work on the store store (process {os.getpid()})" in refused.err
        assert f"at work on it: process {os.getpid()}\n" in run("store ls --store store", capsys).out
        assert "would remove" in run("store gc --store store --dry-run", capsys).out
    assert run("store gc --store store", capsys).code == 0


def test_gc_keeps_everything_for_runs_that_do_not_say_what_they_used(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Store(folder)) as store:
        before = store.database.execute("SELECT count(*) FROM responses")
        for row in store.database.execute("SELECT id, created, report, keys, NULL FROM runs"):
            store.database.execute("UPDATE runs SET used = NULL, digest = ? WHERE id = ?", (digest(row), row[0]))
    done = run("store gc --store store", capsys)
    assert "2 of the kept runs were recorded by an older mipo-bench" in done.out
    with closing(Store(folder)) as store:
        assert store.database.execute("SELECT count(*) FROM responses") == before
        assert store.checkpoints.get(digest(["nobody"])) is not None


def test_gc_refuses_while_a_run_is_damaged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(folder)
    refused = run("store gc --store store", capsys)
    assert refused.code == 2
    assert f"run {RUNS[1].report().digest[:12]} is damaged" in refused.err


def test_scratch_of_a_living_process_stays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "owners").mkdir(exist_ok=True)
    lock = Lock(folder / "owners" / "1-abc")
    assert "0 unfinished checkpoints" in run("store gc --store store --dry-run", capsys).out
    lock.release()
    assert "1 unfinished checkpoint" in run("store gc --store store --dry-run", capsys).out


def test_both_export_formats_hold_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pyarrow.parquet as pq

    assert run("store export a.jsonl --store store", capsys).code == 0
    assert run("store export a.parquet --store store", capsys).code == 0
    text = Path("a.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert rows == pq.read_table("a.parquet").to_pylist()
    assert "\x1b" not in text
    assert text.isascii()
    reports = [made.report() for made in RUNS]
    assert len(rows) == sum(len(r.arms) * 6 for r in reports)
    first = rows[0]
    arm, task = reports[0].arms[0], reports[0].tasks[0]
    assert (first["run"], first["item_id"], first["arm"]) == (reports[0].digest, task.items[0], arm.method)
    assert first["score"] == arm.scores[0]
    assert first["response"] == f"{task.items[0]} {HOSTILE}"


def test_an_export_that_fails_leaves_no_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("dir.jsonl").mkdir()
    assert run("store export dir.jsonl --store store", capsys).code == 2
    assert run("store export no/such/place.jsonl --store store", capsys).code == 2
    assert sorted(p.name for p in Path().iterdir()) == ["dir.jsonl", "store"]


def test_responses_that_are_gone_are_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = next(iter(keys_of(RUNS[0].report(), 0)[1].values()))
    change(folder, f"DELETE FROM responses WHERE key = '{key}'")
    done = run("store export a.jsonl --store store", capsys)
    assert done.code == 1
    assert "1 responses are no longer in the store" in done.out


def test_no_run_begins_while_gc_is_at_work(folder: Path) -> None:
    """Otherwise the run could find a checkpoint just before `gc` removes its folder."""
    with ThreadPoolExecutor() as pool:
        with startup_lock(folder):
            waiting = pool.submit(run_gc, folder)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
        assert waiting.result(timeout=30).counts["runs"] == 1


def run_gc(folder: Path) -> Removed:
    with closing(Store(folder)) as store:
        return collect(store, 1, dry_run=False)
