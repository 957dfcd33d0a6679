"""The reader of JSON Lines: the lines that it accepts, and its errors for others."""

from __future__ import annotations

import gzip
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipo_bench.harness.core.jsonl import JsonLineError, json_lines


def values(data: bytes) -> list[tuple[int, object]]:
    return [(line.number, line.value()) for line in json_lines(io.BytesIO(data))]


def test_blank_lines_count_and_are_left_out() -> None:
    assert values(b'{"a": 1}\n\n  \r\n[2]\r\n3') == [(1, {"a": 1}), (4, [2]), (5, 3)]


def test_a_byte_order_mark_is_dropped_at_the_beginning_alone() -> None:
    assert values(b"\xef\xbb\xbf1\n2\n") == [(1, 1), (2, 2)]
    with pytest.raises(JsonLineError):
        values(b"1\n\xef\xbb\xbf2\n")


def test_lines_end_at_line_feeds_alone() -> None:
    assert values('"a\u2028b\u0085c"\n'.encode()) == [(1, "a\u2028b\u0085c")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "Expecting property name enclosed in double quotes at column 2"),
        (b'{"a": "caf\xe9"}', "byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5000, "Exceeds the limit"),
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' occurs twice in one object; remove one of them"),
        (b'{"b": [{"a": 1, "a": 1}]}', "the key 'a' occurs twice"),
        (b'{\n "a": 1\n}\n', "one object spans 3 lines; write each object on one line, or all of them in one array"),
        (b'{"a": {"0": 1}, "b": {"0": 2}}', r'the file is one object of columns \(a, b\); .*orient="records"'),
        (b'{"a": [1, 2],\n "b": [3, 4]}', r"the file is one object of columns \(a, b\)"),
        (b'{"data": [{"a": 1}]}', "one object that holds the rows in its field 'data'; write that list alone"),
        (gzip.compress(b'{"a": 1}', mtime=0)[:-4], "the gzip data is damaged or incomplete"),
        ('{"a": 1}'.encode("utf-16")[:-1], "truncated data; save the file as UTF-8"),
    ],
)
def test_a_line_that_is_not_json_says_why(line: bytes, reason: str) -> None:
    with pytest.raises(JsonLineError, match=reason):
        values(line)


def test_one_array_is_read_as_its_elements() -> None:
    rows = list(json_lines(io.BytesIO(b'\xef\xbb\xbf\n [{"a": 1},\n\n 2 , []\n]\n')))
    assert [(row.where, row.value()) for row in rows] == [("row 1", {"a": 1}), ("row 2", 2), ("row 3", [])]
    assert values(b"[]") == []
    assert values(b"[1, 2]\n[3]") == [(1, [1, 2]), (2, [3])]


def test_a_damaged_array_names_the_line_of_the_damage_and_a_bad_element_its_row() -> None:
    *good, bad = json_lines(io.BytesIO(b'[{"a": 1},\n{"a": 2}\n{"a": 3}]'))
    assert [row.value() for row in good] == [{"a": 1}, {"a": 2}]
    assert bad.where == "line 3"
    with pytest.raises(JsonLineError, match=r"Expecting ',' or '\]' at column 1"):
        bad.value()
    _, row, last = json_lines(io.BytesIO(b'[1, {"a": 1, "a": 2},\n"caf\xe9"]'))
    assert (row.where, last.where) == ("row 2", "row 3")
    with pytest.raises(JsonLineError, match="the key 'a' occurs twice"):
        row.value()
    with pytest.raises(JsonLineError, match="byte 0xe9 is not UTF-8"):
        last.value()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_encodings_and_compression_are_found_by_content(encoding: str, pack: type[bytes]) -> None:
    text = '{"a": "caf\u00e9 \u2028\u0a0d"}\n\n{"a": 2}\n'
    assert values(pack(text.encode(encoding))) == [(1, {"a": "caf\u00e9 \u2028\u0a0d"}), (3, {"a": 2})]


MARKS = (
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b"\n",
    b'{"a": 1}',
    b'"a"',
    b":",
    b"\xff\xfe",
    b"\x1f\x8b",
    b"\x00",
    b"\xef\xbb\xbf",
)
ROWS = st.lists(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=4), max_size=3), min_size=2)


@given(st.binary(max_size=40) | st.lists(st.sampled_from(MARKS), max_size=12).map(b"".join))
def test_any_bytes_are_read_or_refused_row_by_row(data: bytes) -> None:
    for row in json_lines(io.BytesIO(data)):
        assert row.number >= 1
        try:
            row.value()
        except JsonLineError as error:
            assert str(error)  # noqa: PT017 - a valid row needs no error


@given(ROWS)
def test_lines_and_an_array_of_the_same_rows_are_the_same(rows: list[dict[str, object]]) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    assert [value for _, value in values(lines.encode())] == rows
    for indent in (None, 2):
        assert [value for _, value in values(json.dumps(rows, indent=indent).encode())] == rows
