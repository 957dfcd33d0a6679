"""Generated reports, written and read again."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from made_reports import Made

from mipo_bench.harness.errors import ReportError
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import content_digest, load_report, parse_report, seal, to_json

FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | FINITE | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@cache
def small() -> Report:
    return Made(n_math=4, suites=("math",), train_seeds=(0,)).report()


@given(
    notes=st.lists(st.text(max_size=20), max_size=3),
    config=st.dictionaries(st.text(max_size=5), VALUES, max_size=4),
    scores=st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_a_report_is_read_as_it_was_written(
    notes: list[str], config: Mapping[str, object], scores: list[float]
) -> None:
    arm = small().arms[0].model_copy(update={"scores": scores})
    report = seal(small().model_copy(update={"notes": notes, "config": config, "arms": [arm]}))
    text = to_json(report)
    again = parse_report(text, "text")
    assert again == report
    assert to_json(again) == text


@given(place=st.integers(0), character=st.characters(min_codepoint=32, max_codepoint=126))
def test_no_change_of_one_character_goes_unnoticed(place: int, character: str) -> None:
    text = to_json(small())
    place %= len(text)
    assume(text[place] not in f"{character} \n")
    changed = text[:place] + character + text[place + 1 :]
    try:
        again = parse_report(changed, "text")
    except ReportError:
        return
    assert again == small()  # such as 0.5 written as 0.50


@given(st.text() | st.text('{}[]":,0 \n').map(lambda text: '{"schema_version":"1.0"' + text))
def test_a_text_that_is_no_report_is_refused_by_name(text: str) -> None:
    with pytest.raises(ReportError, match=r"(?s)some-name"):
        parse_report(text, "some-name")


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=5))
def test_the_digest_does_not_depend_on_the_order_of_keys(values: dict[str, object]) -> None:
    assert content_digest(values) == content_digest(dict(reversed(values.items())))
    assert content_digest(values) != content_digest(values | {"another key": 1})


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(to_json(small()).encode("utf-16"))
    with pytest.raises(ReportError, match="cannot read the report"):
        load_report(tmp_path)
