"""inspect_ai's logs. The files in tests/logs/data/inspect_ai were made by inspect_ai 0.3.285, with a solver alone."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import ROOT

from mipo_bench.harness.errors import NotComparableError, UserError
from mipo_bench.reports.logs.formats import read_files
from mipo_bench.reports.logs.record import Choice, ScoreFile
from mipo_bench.reports.score_files.compare import Settings, compare_scores

LOGS = ROOT / "tests/logs/data/inspect_ai"
EXACT = Settings("micro", "error", None, 0.05, 0)
Log = dict[str, Any]


def sample(item: str = "q1", value: object = "C", epoch: int = 1, **fields: object) -> Log:
    scores = {} if value is None else {"match": {"value": value, "history": []}}
    return {"id": item, "epoch": epoch, "input": f"{item}?", "target": "t", "scores": scores, **fields}


def log(samples: list[Log] | None = None, **fields: Any) -> Log:
    run = {"task": "sums", "task_version": 0, "model": "m", "dataset": {"name": "d"}, "config": {"epochs": 1}}
    samples = [sample(), sample("q2", "I")] if samples is None else samples
    return {"version": 2, "status": "success", "eval": run, "samples": samples, **fields}


def as_json(path: Path, content: Log, indent: int | None = 2) -> Path:
    path.write_text(json.dumps(content, indent=indent))
    return path


def as_eval(path: Path, content: Log, *, finished: bool = True) -> Path:
    """An archive as inspect_ai writes it, with members that Python's own zipfile can write."""
    header = {key: value for key, value in content.items() if key != "samples"}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_journal/start.json", json.dumps({"version": 2, "eval": content["eval"]}))
        for place, one in enumerate(content["samples"], 1):
            archive.writestr(f"_journal/summaries/{place}.json", json.dumps([one]))
        if finished:
            archive.writestr("summaries.json", json.dumps(content["samples"]))
            archive.writestr("header.json", json.dumps(header))
    return path


def read_one(path: Path, **choice: Any) -> ScoreFile:
    (found,) = read_files(path, Choice(**choice))
    return found


@pytest.mark.parametrize("name", ["base.eval", "base.json", "method.eval"])
def test_the_mean_is_that_of_inspect_ai(name: str) -> None:
    """The figures of `results` in the headers of the logs."""
    own = {
        "base": {"match": 0.2, "graded.style": 0.45, "graded.length": 4.2},
        "method": {"match": 1.0, "graded.style": 0.447, "graded.length": 1.0},
    }[name.split(".", maxsplit=1)[0]]
    for metric, mean in own.items():
        found = read_one(LOGS / name, metric=metric)
        assert found.scores.value.mean() == pytest.approx(mean)
        assert (len(set(found.scores.item)), len(found.scores.item)) == (5, 10)


def test_the_figures_above_are_in_the_log() -> None:
    results = json.loads((LOGS / "base.json").read_text())["results"]["scores"]
    assert [next(iter(entry["metrics"].values()))["value"] for entry in results] == pytest.approx([0.2, 0.45, 4.2])


def test_archive_and_document_are_the_same() -> None:
    """Also the fingerprints of the inputs; the id with a slash is a folder inside the archive."""
    one, other = (read_one(LOGS / f"base.{form}", metric="match") for form in ("eval", "json"))
    assert set(one.scores.item) == {"a/b", "q1", "q2", "q3", "q4"}
    assert sorted(zip(one.scores.item, one.scores.value, strict=True)) == sorted(
        zip(other.scores.item, other.scores.value, strict=True)
    )
    (found,) = compare_scores([LOGS / "base.json", LOGS / "base.eval"], Choice("match"), EXACT)
    assert (found.comparison.delta, found.comparison.n_items) == (0, 5)


def test_users_are_clusters() -> None:
    paths = [LOGS / "base.eval", LOGS / "method.eval"]
    (found,) = compare_scores(paths, Choice("match", columns={"user": "metadata.user"}), EXACT)
    assert (found.comparison.n_clusters, found.name) == (3, "mockllm/method")
    assert found.comparison.delta == pytest.approx(0.8)


def test_a_field_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"base.eval, sample 1: --user: .*Did you mean 'metadata.user'"):
        read_one(LOGS / "base.eval", metric="match", columns={"user": "metadata.users"})


@pytest.mark.parametrize("write", [as_json, as_eval])
def test_values(write: Any, tmp_path: Path) -> None:
    texts: list[object] = ["C", "P", "I", "N", "yes", "No", "TRUE", "0.25", 0.75, True, 3]
    path = write(tmp_path / "log", log([sample(f"q{i}", value) for i, value in enumerate(texts)]))
    assert list(read_one(path).scores.value) == [1, 0.5, 0, 0, 1, 0, 1, 0.25, 0.75, 1, 3]
    assert list(read_one(path, values={"P": 0.8}).scores.value)[1] == 0.8


def test_a_document_on_one_line(tmp_path: Path) -> None:
    assert len(read_one(as_json(tmp_path / "log", log(), indent=None)).scores.item) == 2


def test_samples_without_a_score(tmp_path: Path) -> None:
    rows = [sample(), sample("q2", None, error="it broke"), sample("q3", math.nan)]
    path = as_eval(tmp_path / "log.eval", log(rows))
    assert list(np.isnan(read_one(path, allow_missing=True).scores.value)) == [False, True, True]
    with pytest.raises(
        UserError, match="sample 2: the sample 'q2', epoch 1, has no score match: it ended with an error"
    ):
        read_one(path)


def test_the_last_of_a_sample_that_was_logged_again(tmp_path: Path) -> None:
    path = as_eval(tmp_path / "log.eval", log([sample(value="I"), sample("q2"), sample(value="C")]))
    assert list(read_one(path).scores.value) == [1, 1]


def test_edited_scores_are_noted(tmp_path: Path) -> None:
    edited = sample()
    edited["scores"]["match"]["history"] = [{"value": "I"}]
    (note,) = read_one(as_json(tmp_path / "log", log([edited]))).header.notes
    assert note.code == "edited_scores"


def test_an_unfinished_run(tmp_path: Path) -> None:
    path = as_eval(tmp_path / "log.eval", log(), finished=False)
    with pytest.raises(UserError, match=r'the run has the status "started"\. --allow-unfinished'):
        read_one(path)
    assert list(read_one(path, unfinished=True).scores.value) == [1, 0]


REFUSED = {
    "status": (log(status="error"), 'the run has the status "error"'),
    "invalidated": (log(invalidated=True), "the run was invalidated"),
    "invalid sample": (log([sample(invalidation={"reason": "x"})]), "sample 1: the sample 'q1' was invalidated"),
    "version": (log(version=1), "version 1; 2 can be read"),
    "no samples": (log(samples=[]), "the log holds no samples"),
    "list": (log([sample(value=[1, 0])]), "sample 1: match is [1, 0]; a finite number is needed"),
    "text": (log([sample(value="maybe")]), 'match is the text "maybe"'),
    "several": (log([sample(value={"a": 1, "b": 0})]), "choose a score with --metric: match.a, match.b"),
    "no scores": (log([sample(value=None)]), "choose a score with --metric: no sample has a score"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    content, message = REFUSED[name]
    for write in (as_json, as_eval):
        with pytest.raises(UserError) as error:
            read_one(write(tmp_path / "log", content))
        assert message in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cut", "damaged or incomplete zip archive"),
        ("flip", "the member summaries.json is damaged"),
        ("checksum", "its length or checksum is wrong"),
    ],
)
def test_a_damaged_archive(change: str, message: str, tmp_path: Path) -> None:
    data = bytearray((LOGS / "base.eval").read_bytes())
    if change == "flip":
        place = data.index(b"summaries.json", data.index(b"_journal/summaries/1.json") + 25)
        data[place + 60] ^= 0xFF
    elif change == "checksum":
        directory_entry = data.rindex(b"summaries.json") - 46
        data[directory_entry + 16] ^= 0xFF
    path = tmp_path / "log.eval"
    path.write_bytes(data[: len(data) // 2] if change == "cut" else data)
    with pytest.raises(UserError, match=message):
        read_one(path, metric="match")


def test_another_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("scores.csv", "item_id,score\n")
    with pytest.raises(UserError, match="a zip archive, and no log of inspect_ai"):
        read_files(path, Choice())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"task": "other"}, 'the task is "sums" in the first and "other" in the second'),
        ({"task_version": 1}, 'the task version is "0" in the first'),
        ({"dataset": {"name": "e"}}, 'the data set is "d"'),
    ],
)
def test_another_task_is_not_comparable(changed: Log, message: str, tmp_path: Path) -> None:
    other = log()
    other["eval"] = {**other["eval"], **changed}
    with pytest.raises(NotComparableError, match=message):
        compare_scores([as_json(tmp_path / "a", log()), as_json(tmp_path / "b", other)], Choice(), EXACT)


def test_another_input_is_not_comparable(tmp_path: Path) -> None:
    other = log([sample(), {**sample("q2"), "input": "else?"}])
    with pytest.raises(
        NotComparableError, match=r"b, sample 2: id 'q2' has the input .*It has changed on 1 of 2 items"
    ):
        compare_scores([as_json(tmp_path / "a", log()), as_json(tmp_path / "b", other)], Choice(), EXACT)
