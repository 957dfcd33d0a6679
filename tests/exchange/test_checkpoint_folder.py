"""`mipo-bench store checkpoint`: weights, lineage and a model card; refusals leave nothing behind."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from golden_files import Printed, check_golden, run
from made_reports import HOSTILE, MODEL, Made, write_model

from mipo_bench.harness.core.hashing import digest, model_digest
from mipo_bench.harness.exchange.model_card import base_model, model_card
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.harness.store.upkeep.garbage import collect
from mipo_bench.reports.records.report import CheckpointRecord, Report
from mipo_bench.reports.records.report_file import seal, to_json

SETTINGS = {"lr": 1e-4, "beta": 0.1, "epochs": 1, "batch_size": 16}
Mipo = Callable[[str], Printed]


def lineage(record: CheckpointRecord) -> dict[str, object]:
    names = {"task": record.task, "recipe": record.recipe, "objective": "dpo", "settings": SETTINGS}
    return dict(record.lineage) | names


def writer(record: CheckpointRecord) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_model(folder)
        (folder / "model.safetensors").write_bytes(f"{record.task} {record.train_seed}".encode())
        (folder / "lineage.json").write_text(json.dumps(lineage(record)))
        (folder / "pairs.jsonl").write_text('{"prompt": "a text of a user"}\n')

    return write


def stored(folder: Path, made: Made) -> Report:
    """A store with a run and its checkpoints."""
    with closing(Store(folder)) as store:
        draft, records = made.report(), []
        for record in draft.checkpoints:
            key = digest(["checkpoint", record.task, record.train_seed, made.created])
            found = store.checkpoints.put(key, writer(record))
            records.append(record.model_copy(update={"digest": found.digest, "lineage": lineage(record)}))
        report = seal(draft.model_copy(update={"checkpoints": records}))
        store.put_run(StoredRun(report.digest, report.created, to_json(report), [{} for _ in report.arms]))
    return report


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    monkeypatch.chdir(tmp_path)
    return stored(Path(".mipo-bench"), Made())


@pytest.fixture
def mipo(capsys: pytest.CaptureFixture[str]) -> Mipo:
    return lambda command: run(command, capsys)


def metadata(card: str) -> dict[str, Any]:
    values = yaml.safe_load(card.split("---\n")[1])
    assert isinstance(values, dict)
    return values


def test_a_checkpoint_is_copied_with_its_card(report: Report, mipo: Mipo) -> None:
    done = mipo(f"store checkpoint {report.digest[:6]} persona/mipo-random/1 out")
    assert (done.code, done.err) == (0, "")
    assert {f.name for f in Path("out").iterdir()} == {*MODEL, "lineage.json", "README.md"}
    [record] = [c for c in report.checkpoints if (c.task, c.train_seed) == ("persona", 1)]
    assert model_digest(Path("out")) == record.digest
    assert json.loads(Path("out/lineage.json").read_text()) == lineage(record)
    check_golden("store/model-card.md", Path("out/README.md").read_text().replace(report.digest[:12], "run---------"))
    assert {p.name for p in Path().iterdir()} == {".mipo-bench", "out"}


def test_the_card_has_the_figures_of_the_report(report: Report) -> None:
    [record] = [c for c in report.checkpoints if (c.task, c.train_seed) == ("arithmetic", 2)]
    card = metadata(model_card(report, record))
    [results] = card["model-index"]
    values = {m["name"].split(",")[0]: m["value"] for r in results["results"] for m in r["metrics"]}
    [estimate] = [e for e in report.estimates if (e.task, e.method) == ("arithmetic", "mipo-random")]
    assert values["score"] == round(dict(estimate.per_seed)[2], 4)
    [primary] = [c for c in report.comparisons if c.task == "arithmetic" and c.family == "primary"]
    assert values[f"score minus that of {primary.base}"] == round(primary.delta or 0, 4)
    assert {"mipo-bench", "trl", "dpo", "mipo", "mipo-random", "arxiv:2603.19294"} == set(card["tags"])


def test_a_licence_is_named_only_where_it_is_given(report: Report, mipo: Mipo) -> None:
    mipo(f"store checkpoint {report.digest} persona/mipo-random/0 without")
    mipo(f"store checkpoint {report.digest} persona/mipo-random/0 given --license apache-2.0")
    assert "license" not in metadata(Path("without/README.md").read_text())
    assert metadata(Path("given/README.md").read_text())["license"] == "apache-2.0"
    assert "No licence is stated" in Path("without/README.md").read_text()
    assert "No licence is stated" not in Path("given/README.md").read_text()


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B"),
        ("owner/name:file.gguf", "owner/name"),
        *((name, None) for name in ("embedded", "/home/me/model", "./model", "../a/b", "a/b/c", "here/model")),
    ],
)
def test_a_base_model_is_named_only_by_its_id(
    name: str, base: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here/model").mkdir(parents=True)
    assert base_model(name) == base


def test_a_card_names_no_path_and_shows_texts_as_they_are() -> None:
    report = Made(recipe=f"<script>|{HOSTILE}").report()
    model = report.model.model_copy(update={"name": "/home/me/secret/model"})
    card = model_card(report.model_copy(update={"model": model}), report.checkpoints[0])
    assert "secret" not in card
    assert "\x1b" not in card
    assert "<script>" not in card.split("---\n", maxsplit=2)[2]
    assert metadata(card)["pipeline_tag"] == "text-generation"


REFUSED = {
    "ffff persona/mipo-random/0 out": "no run 'ffff'",
    "'' persona/mipo-random/0 out": "no run ''",
    "{run} persona/mipo-random out": "write TASK/ARM/SEED",
    "{run} persona/mipo-random/x out": "write TASK/ARM/SEED",
    "{run} persona/mipo-random/9 out": "Its checkpoints: arithmetic/mipo-random/0",
    "{run} persona/profile/0 out": "the run has no checkpoint persona/profile/0",
    "{run} persona/mipo-random/0 there": "there exists, and nothing is overwritten",
    "{run} persona/mipo-random/0 file/out": "cannot write file/out",
    "{run} persona/mipo-random/0 missing/out": "cannot write missing/out",
    "{run} persona/mipo-random/0 ''": "write the path of a file or folder",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_what_is_refused_leaves_nothing_behind(arguments: str, report: Report, mipo: Mipo) -> None:
    Path("there").mkdir()
    Path("file").write_text("")
    before = sorted(Path().rglob("*"))
    done = mipo(f"store checkpoint {arguments.format(run=report.digest)}")
    assert (done.code, done.out) == (2, "")
    assert REFUSED[arguments] in done.err
    assert sorted(Path().rglob("*")) == before


def test_several_runs_of_one_beginning_are_named(report: Report, mipo: Mipo) -> None:
    others = [stored(Path(".mipo-bench"), Made(created=f"2026-02-03T04:05:{n:02d}+00:00")) for n in range(16)]
    beginnings = [r.digest[0] for r in (report, *others)]  # 17 runs have 16 first digits
    [shared] = [digit for digit, count in Counter(beginnings).most_common(1) if count > 1]
    done = mipo(f"store checkpoint {shared} persona/mipo-random/0 out")
    assert (done.code, f"several runs that begin with '{shared}'" in done.err) == (2, True)
    assert all((r.digest[:12] in done.err) == (r.digest[0] == shared) for r in (report, *others))


def test_a_collected_or_damaged_checkpoint_is_said(report: Report, mipo: Mipo) -> None:
    with closing(Store(Path(".mipo-bench"))) as store:
        folder = next(
            f for f in store.checkpoints.folder.iterdir() if (f / "model.safetensors").read_bytes() == b"persona 0"
        )
    (folder / "model.safetensors").write_bytes(b"damaged")
    damaged = mipo(f"store checkpoint {report.digest} persona/mipo-random/0 out")
    assert (damaged.code, "no longer in the store" in damaged.err) == (2, True)
    with closing(Store(Path(".mipo-bench"))) as store:
        assert collect(store, 0, dry_run=False).counts["checkpoints"]
    assert mipo(f"store checkpoint {report.digest} persona/mipo-random/1 out").code == 2
    assert not Path("out").exists()
