"""`mipo-bench store merge`: jobs that ran apart end as if they had shared a store, or nothing is merged."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fakes import SilentDisplay
from golden_files import run
from killable_runs import GENERATE, PAIRS, TRAIN, StoringEngine, settings
from made_reports import RUNS, checkpoint_key, keys_of, made_store
from openai_server import Reply, chat_reply, scripted
from real_runs import comparable

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.protocols import Verdict
from mipo_bench.harness.run.launch import Processes
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.session import compute_report
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.store.rescue import open_for_run
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.harness.types import Response
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import to_json


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return made_store(tmp_path / "a")


def change(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "store.sqlite")) as db, db:
        assert db.execute(statement).rowcount == 1


def content(folder: Path) -> dict[str, object]:
    """Everything in a store: its rows by table, and the files of its checkpoints."""
    with closing(sqlite3.connect(folder / "store.sqlite")) as db:
        tables = ("responses", "likelihoods", "verdicts", "checkpoints", "runs", "notes")
        rows: dict[str, object] = {t: sorted(db.execute(f"SELECT * FROM {t}")) for t in tables}
        keys = [row[0] for row in db.execute("SELECT key FROM checkpoints")]
    files = [f for key in keys for f in (folder / "checkpoints" / key).iterdir()]
    return rows | {str(f.relative_to(folder)): f.read_bytes() for f in files}


def write_own(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"own")


def other_store(folder: Path, text: str = "left over") -> Path:
    """A store that shares one response with the made store, and has entries of its own."""
    with closing(Store(folder)) as store:
        store.put_responses(
            [(digest(["nobody"]), Response(text, 7, 2, "stop")), ("mine", Response("own", 1, 1, "stop"))]
        )
        store.put_verdict("verdict", Verdict(1.0, "A", 1))
        store.put_notes("generator", ["second", "first"])
        store.checkpoints.put("mine", write_own)
    return folder


def run_into(
    folder: Path, tasks: tuple[str, ...] = ("arithmetic", "facts"), *, compute_only: bool = False, **options: int
) -> tuple[Report | None, str]:
    """A run on a fake model that stores what it computes. Returns its report, and a letter for each step."""
    marks: list[str] = []
    config = settings(folder, tasks=tasks, baselines=None, recipes=["mipo-random"], limit=6, **options)
    with closing(open_for_run(config.store)) as store:
        context = RunContext(config, make_plan(config), store, StoringEngine(store, marks.append), SilentDisplay())
        report = compute_report(Run(context), Processes(), compute_only=compute_only)
    return report, "".join(marks)


def test_jobs_by_task_and_seed_end_as_if_they_had_shared_a_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, steps = run_into(tmp_path / "whole", seeds=2)
    assert {GENERATE, PAIRS, TRAIN} <= {*steps}
    jobs = [(task, seed) for task in ("arithmetic", "facts") for seed in (0, 1)]
    for task, seed in jobs:
        job = run_into(tmp_path / f"{task}-{seed}", (task,), seeds=1, first_seed=seed, compute_only=True)
        assert (job[0], TRAIN in job[1]) == (None, True)
    stores = " ".join(str(tmp_path / f"{task}-{seed}" / "store") for task, seed in jobs)
    target = tmp_path / "joined" / "store"
    done = run(f"store merge {stores} --into {target}", capsys)
    assert (done.code, done.err) == (0, "")
    before = content(target)
    joined, steps = run_into(tmp_path / "joined", seeds=2)
    assert not {GENERATE, PAIRS, TRAIN} & {*steps}
    assert content(target) | {"runs": 0} == before | {"runs": 0}
    assert joined is not None
    assert whole is not None
    assert comparable(joined) == comparable(whole)


def test_a_merge_can_be_repeated_and_leaves_its_sources_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = other_store(Path("b"))
    before = content(folder), content(other)
    first = run("store merge a b --into c", capsys)
    assert first.out == (
        "merged 2 stores into c: added 69 responses, 1 likelihood, 1 verdict, 4 checkpoints, 2 runs\n"
        "1 of their entries were there already\n"
    )
    merged = content(Path("c"))
    again = run("store merge b a c --into c", capsys)
    assert "added 0 responses, 0 likelihoods, 0 verdicts, 0 checkpoints, 0 runs" in again.out
    assert content(Path("c")) == merged
    assert (content(folder), content(other)) == before
    with closing(Store(Path("c"))) as store:
        assert store.notes("generator") == ["second", "first"]
        assert [r.id for r in store.runs()] == [made.report().digest for made in RUNS]
        assert store.checkpoints.get("mine") is not None
    assert [f.name for f in Path("c/checkpoints").iterdir() if f.name.startswith("new-")] == []


@pytest.mark.parametrize("into", ["b", "c"])
def test_two_results_under_one_key_are_refused_with_both_stores(
    into: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = other_store(Path("b"), "another answer")
    before = content(folder), content(other)
    refused = run(f"store merge a b --into {into}", capsys)
    assert refused.code == 2
    names = "b and a" if into == "b" else "a and b"
    assert f"the stores {names} have different responses under the key {digest(['nobody'])[:12]}" in refused.err
    assert (content(folder), content(other)) == before
    assert not Path("c").exists()


def test_two_trainings_under_one_key_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(Store(Path("b"))) as store:
        store.checkpoints.put(checkpoint_key(0), write_own)
    refused = run("store merge a b --into c", capsys)
    assert (refused.code, "the stores a and b have different checkpoints" in refused.err) == (2, True)
    assert not Path("c").exists()


@pytest.mark.parametrize(
    ("statement", "file", "message"),
    [
        ("UPDATE responses SET text = 'forged' WHERE key = (SELECT max(key) FROM responses)", "", "the response "),
        ("UPDATE likelihoods SET logprob = 0", "", "the likelihood "),
        (f"UPDATE runs SET created = 'never' WHERE id = '{RUNS[1].report().digest}'", "", "the run "),
        ("", "config.json", "the checkpoint "),
    ],
)
def test_damage_is_refused_and_nothing_is_merged(
    statement: str, file: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = other_store(Path("b"))
    before = content(other)
    if statement:
        change(folder, statement)
    else:
        (folder / "checkpoints" / checkpoint_key(1) / file).write_text("forged")
    refused = run("store merge a --into b", capsys)
    assert refused.code == 2
    assert message in refused.err
    assert "of the store a is damaged" in refused.err
    assert content(other) == before
    assert sorted(f.name for f in (other / "checkpoints").iterdir()) == ["mine"]
    run("store verify --drop --store a", capsys)
    assert run("store merge a --into b", capsys).code == 0


def test_a_lost_checkpoint_folder_is_damage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(folder / "checkpoints" / checkpoint_key(1))
    assert f"the checkpoint {checkpoint_key(1)[:12]} of the store a is damaged" in run("store merge a", capsys).err


def test_a_store_that_was_killed_and_one_that_cannot_be_written_to_are_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last rows of a killed process are in the write-ahead log only; its folder may be an archive."""
    writer = sqlite3.connect(folder / "store.sqlite")
    row = ("late", "in the log", 1, 1, "stop", None)
    with writer:
        writer.execute("INSERT INTO responses VALUES (?,?,?,?,?,?,?)", (*row, digest(row)))
    copy = Path(shutil.copytree(folder, "killed"))
    writer.close()
    assert (copy / "store.sqlite-wal").stat().st_size
    for place in (copy / "store.sqlite", copy / "store.sqlite-wal", copy):
        place.chmod(place.stat().st_mode & 0o555)
    done = run("store merge killed --into c", capsys)
    copy.chmod(0o755)
    assert done.code == 0
    with closing(Store(Path("c"))) as store:
        assert store.responses(["late"]) == {"late": Response("in the log", 1, 1, "stop")}


def test_a_store_of_an_older_version_is_read_and_stays_as_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(folder / "store.sqlite")) as db, db:
        db.execute("DROP TABLE notes")
        db.execute("PRAGMA user_version=2")
    assert run("store merge a --into c", capsys).code == 0
    with closing(sqlite3.connect(folder / "store.sqlite")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
        db.execute("PRAGMA user_version=99")
    newer = run("store merge a --into d", capsys)
    assert (newer.code, "the store a was written by a newer mipo-bench" in newer.err) == (2, True)
    assert not Path("d").exists()


def test_a_folder_that_is_no_store_and_one_that_is_no_database_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folder.exists()
    for name, text in (("empty", None), ("broken", b"not a database " * 99)):
        Path(name).mkdir()
        if text:
            Path(name, "store.sqlite").write_bytes(text)
        refused = run(f"store merge a {name} --into c", capsys)
        assert refused.code == 2
        assert name in refused.err
        assert not Path("c").exists()
    assert "there is no run store absent" in run("store merge absent --into c", capsys).err


@pytest.mark.parametrize("busy", ["a", "b"])
def test_a_store_at_work_is_refused(busy: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert folder.exists()
    other_store(Path("b"))
    with closing(Store(Path(busy))) as store:
        store.claims.join()
        refused = run("store merge a --into b", capsys)
    assert refused.code == 2
    assert f"a run is at work on the store {busy} (process {os.getpid()})" in refused.err


def test_runs_with_many_keys_are_merged_in_batches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = RUNS[0].report()
    for name, half in (("a", range(1200)), ("b", range(800, 2000))):
        with closing(Store(tmp_path / name)) as store:
            store.put_responses([(f"k{n:05}", Response(str(n), 1, 1, "stop")) for n in half])
            store.put_run(StoredRun(report.digest, report.created, to_json(report), keys_of(report, 0), {}))
    done = run(f"store merge {tmp_path / 'a'} {tmp_path / 'b'} --into {tmp_path / 'c'}", capsys)
    assert "added 2,000 responses, 0 likelihoods, 0 verdicts, 0 checkpoints, 1 run\n401 of their" in done.out
    assert json.loads(to_json(report))["digest"] == report.digest


@pytest.mark.parametrize(("refuses", "code"), [(False, 0), (True, 1)])
def test_a_job_without_a_report_fills_the_store_and_says_whether_an_arm_failed(
    refuses: bool, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def answer(body: dict[str, Any], _: int) -> Reply:
        return Reply(400, "too long") if refuses and len(body["messages"]) > 2 else chat_reply("Answer: 3")

    with scripted(answer) as server:
        options = f"--backend openai --model m --set backend_args.base_url={server.url} --baselines plain,few-shot"
        job = run(f"run --task arithmetic --limit 2 {options} --compute-only", capsys)
    assert (job.code, job.out) == (code, "")
    assert ("few-shot failed" in job.err.replace(":", "")) == refuses
    assert "computed into .mipo-bench; no report (--compute-only)" in job.err
    assert not (tmp_path / "mipo-bench-report").exists()
    assert "no run yet" in run("store ls", capsys).out
