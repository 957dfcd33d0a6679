"""The reader of JSON Lines: the lines that it accepts, and its errors for others."""

from __future__ import annotations

import io

import pytest

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
    ],
)
def test_a_line_that_is_not_json_says_why(line: bytes, reason: str) -> None:
    with pytest.raises(JsonLineError, match=reason):
        values(line)
