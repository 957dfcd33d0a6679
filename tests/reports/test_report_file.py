"""`report.json`: its schema, its digest, its size, and errors of damaged files."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from made_reports import Made
from paths import ROOT

from mipo_bench.harness.config.describe import DescribedSchema
from mipo_bench.harness.errors import ReportError
from mipo_bench.reports.diff.trend import PastReport, trend_page
from mipo_bench.reports.records.information import InformationEstimateRecord, InformationRecord
from mipo_bench.reports.records.report import ArmRecord, Report
from mipo_bench.reports.records.report_file import content_digest, load_report, parse_report, seal, to_json

SHIPPED = files("mipo_bench.reports.records").joinpath("report.schema.json")
BUILT = ROOT / "reports" / "records" / "report.schema.json"


def made_schema() -> str:
    """The schema that the records generate. It allows unknown fields, because newer minor versions add some."""
    made = Report.model_json_schema(schema_generator=DescribedSchema)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}
    return json.dumps(schema, indent=1) + "\n"


def shipped_schema() -> dict[str, Any]:
    """The shipped schema."""
    loaded: dict[str, Any] = json.loads(SHIPPED.read_text(encoding="utf-8"))
    return loaded


def values(report: Report | None = None) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(to_json(report or Made().report()))
    return loaded


def written(content: dict[str, Any], *, sealed: bool = True) -> str:
    return json.dumps(content | ({"digest": content_digest(content)} if sealed else {}))


def test_the_shipped_schema_is_current() -> None:
    if os.environ.get("MIPO_BENCH_UPDATE_GOLDEN"):
        BUILT.write_text(made_schema(), encoding="utf-8")
    assert BUILT.read_text(encoding="utf-8") == made_schema()


def test_a_task_with_an_empty_list_of_users_is_refused() -> None:
    content = values()
    content["tasks"][1]["users"] = []
    with pytest.raises(ReportError, match="a list has 0 entries where the task has 36 items"):
        parse_report(written(content), "made")


@pytest.mark.parametrize("mean", [-1e308, 1e308])
def test_a_trend_shows_a_score_that_no_run_can_have(mean: float) -> None:
    content = values()
    content["estimates"][0]["mean"] = mean
    report = parse_report(written(content), "made")
    first = report.estimates[0]
    page = trend_page([PastReport("a", report.created, "", report)], f"{first.task}/{first.method}")
    assert page.sections


def test_estimates_that_do_not_fit_the_contexts_of_their_block_are_refused() -> None:
    """A resealed report could not be laid out: a method without an estimate for some number of contexts."""
    estimate: dict[str, Any] = dict.fromkeys(InformationEstimateRecord.model_fields, 1)
    estimates = [estimate | {"weights": "own", "warnings": [], "method": "a", "contexts": n} for n in (1, 4)]
    block: dict[str, Any] = {name: [] for name in InformationRecord.model_fields} | {
        **{"task": "persona", "over": "contexts", "reference": "profile", "left_out": 0, "temperature": None},
        **{"end": True, "contexts": [1, 4], "estimates": estimates},
    }
    assert parse_report(written(values() | {"information": [block]}), "made").information
    with pytest.raises(ReportError, match=r"made is damaged: information\.0\.contexts"):
        parse_report(written(values() | {"information": [block | {"contexts": []}]}), "made")
    short = {"method": "a", "train_seed": None, "weights": "own", "pmi": [[0.5], []]}
    with pytest.raises(ReportError, match="measured values of 'a' are not one for each item"):
        parse_report(written(values() | {"information": [block | {"items": ["i"], "measured": [short]}]}), "made")
    estimates[1]["method"] = "unknown"
    with pytest.raises(ReportError, match=r"made is damaged: .*estimates of 'a' \(own\) are for \[1\] contexts, not"):
        parse_report(written(values() | {"information": [block]}), "made")


@pytest.mark.parametrize("made", [Made(), Made(suites=("math",), train_seeds=()), Made(commit=None, n_math=1)])
def test_every_report_is_valid_and_comes_back_the_same(made: Made) -> None:
    report = made.report()
    jsonschema.validate(values(report), shipped_schema(), cls=jsonschema.Draft202012Validator)
    assert parse_report(to_json(report), "made") == report
    assert to_json(parse_report(to_json(report), "made")) == to_json(report)


def test_the_schema_refuses_what_is_no_report() -> None:
    changes: list[dict[str, Any]] = [{"average": "median"}, {"schema_version": "3.0"}, {"arms": [{}]}, {"alpha": 5}]
    for change in changes:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(values() | change, shipped_schema())


def test_the_first_version_loads_without_a_digest() -> None:
    old = values() | {"schema_version": "1.0"}
    del old["digest"]
    report = parse_report(json.dumps(old), "old")
    assert report.arms == Made().report().arms
    assert seal(report).digest == Made().report().digest


def test_a_newer_minor_version_loads_and_its_digest_covers_what_is_unknown_here() -> None:
    new = values() | {"schema_version": "2.9", "discovered_later": [1, 2]}
    assert parse_report(written(new), "new").arms == Made().report().arms
    with pytest.raises(ReportError, match="changed since mipo-bench wrote it"):
        parse_report(json.dumps(json.loads(written(new)) | {"discovered_later": [3]}), "new")


def test_white_space_and_the_order_of_keys_do_not_matter() -> None:
    text = json.dumps(dict(reversed(values().items())), indent=4)
    assert parse_report(text, "spread out") == Made().report()


def forge_score(content: dict[str, Any]) -> None:
    content["arms"][0]["scores"][0] = 1 - content["arms"][0]["scores"][0]


def drop_digest(content: dict[str, Any]) -> None:
    del content["digest"]


@pytest.mark.parametrize("edit", [forge_score, drop_digest])
def test_an_edited_report_is_named(edit: Callable[[dict[str, Any]], None], tmp_path: Path) -> None:
    content = values()
    edit(content)
    file = tmp_path / "report.json"
    file.write_text(json.dumps(content))
    with pytest.raises(ReportError, match="has been changed since mipo-bench wrote it: its digest is") as error:
        load_report(tmp_path)
    assert str(file) in str(error.value)


def drop_one_score(content: dict[str, Any]) -> None:
    content["arms"][0]["scores"].pop()


def drop_a_score_and_its_tokens(content: dict[str, Any]) -> None:
    for column in (content["arms"][0]["scores"], content["arms"][0]["n_tokens"]):
        column.pop()


def double_item(content: dict[str, Any]) -> None:
    content["tasks"][0]["items"][1] = content["tasks"][0]["items"][0]


def rename_task(content: dict[str, Any]) -> None:
    content["tasks"][0]["name"] = "other"


def double_task(content: dict[str, Any]) -> None:
    content["tasks"].append(content["tasks"][0])


def large_score(content: dict[str, Any]) -> None:
    content["arms"][0]["scores"][0] = 7


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (drop_one_score, "a list has 60 entries where the task has 59 items"),
        (drop_a_score_and_its_tokens, "a list has 59 entries where the task has 60 items"),
        (double_item, "'arithmetic' has an item twice"),
        (rename_task, "names the task 'arithmetic', which is not listed"),
        (double_task, "a task is listed twice"),
        (large_score, "arms.0.scores.0"),
    ],
)
def test_a_report_that_contradicts_itself_is_damaged(edit: Callable[[dict[str, Any]], None], message: str) -> None:
    content = values()
    edit(content)
    with pytest.raises(ReportError, match=f"r is damaged: .*{message}"):
        parse_report(written(content), "r")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (to_json(Made().report())[:5000], "cannot read the report r: .* Is it truncated"),
        ("", "Is it truncated"),
        ("[" * 100_000, "cannot read the report"),
        ('{"schema_version": "1.1", "alpha": NaN}', "NaN is not JSON"),
        ('{"schema_version": "3.0"}', "this mipo-bench reads up to 2.x. Upgrade it"),
        ('{"schema_version": "x"}', "this mipo-bench reads up to 2.x"),
        ('{"schema_version": "²"}', "this mipo-bench reads up to 2.x"),
        ('{"schema_version": 1}', "it has no schema_version"),
        ("[]", "is not a mipo-bench report"),
    ],
)
def test_what_is_no_report_is_refused(text: str, message: str) -> None:
    with pytest.raises(ReportError, match=message):
        parse_report(text, "r")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReportError, match="cannot read the report"):
        load_report(tmp_path)


def test_what_is_not_finite_is_written_as_null() -> None:
    report = Made().report()
    comparison = report.comparisons[0].model_copy(update={"mde": float("inf")})
    text = to_json(report.model_copy(update={"comparisons": [comparison]}))
    assert json.loads(text)["comparisons"][0]["mde"] is None


def test_a_report_stays_small() -> None:
    """1,000 binary items take 58 kB once and 6 kB for each arm; git packs this to a quarter at most."""
    small, large = (to_json(Made(n_math=n, suites=("math",)).report()) for n in (10, 1010))
    arms = len(Made().report().group("arithmetic", "mipo-random")) + 3
    assert len(large) - len(small) < 58_000 + 6_000 * arms
    assert len(zlib.compress(large.encode())) < len(large) / 4


def test_curves_keep_six_digits() -> None:
    lineage = Made().report().checkpoints[0].lineage
    assert all(len(f"{point['loss']:.12g}") <= 8 for point in lineage["curve"])


def test_records_name_the_arm_lists() -> None:
    with pytest.raises(ValueError, match="a list has 1 entries"):
        ArmRecord.model_validate(values()["arms"][0] | {"n_tokens": [1]})
