"""The reader of JSON Lines files that other programs or people wrote: scores, responses, labels and data sets.

It reads UTF-8 with or without a byte order mark, UTF-16, UTF-32 and gzip, whatever the file is called, and one array in
place of lines.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import IO, Any

_GZIP = b"\x1f\x8b"
_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class JsonLineError(ValueError):
    """A row cannot be read; the message says why, without the file and the place of the row."""


@dataclass(frozen=True, slots=True)
class JsonLine:
    """A line that is not blank, or an element of an array, with its number in the file, counted from 1.

    `unit` is `line`, or `row` for an element of an array. `problem` is the reason why the row has no value, if it is
    one of the file and not of the row.
    """

    number: int
    raw: bytes
    unit: str = "line"
    problem: str = ""

    @property
    def where(self) -> str:
        """`line 3` or `row 3`, for messages."""
        return f"{self.unit} {self.number}"

    def value(self) -> Any:
        """The JSON value. Raises JsonLineError."""
        if self.problem:
            raise JsonLineError(self.problem)
        return parse_json(self.raw)


def json_lines(stream: IO[bytes]) -> Iterator[JsonLine]:
    r"""The rows of a file opened in binary mode, one at a time; blank lines are counted but not yielded.

    Lines end with "\n" alone, because texts may hold other characters at which `str.splitlines` would break. Compressed
    files, those in UTF-16 and arrays are held in memory. A file that is none of these gives a row whose `value` raises.
    """
    head = stream.readline()
    if head.startswith(_GZIP):
        yield from _unpacked(lambda: gzip.decompress(head + stream.read()))
    elif not (encoding := json.detect_encoding(head[:4])).startswith("utf-8"):
        yield from _unpacked(lambda: (head + stream.read()).decode(encoding).encode())
    else:
        yield from _rows(head.removeprefix(codecs.BOM_UTF8), stream)


def parse_json(raw: bytes) -> Any:
    """The JSON value of UTF-8 bytes. Raises JsonLineError, also for an object with the same key twice."""
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise JsonLineError(_syntax(error)) from error
    except UnicodeDecodeError as error:
        byte = raw[error.start]
        raise JsonLineError(f"byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from error
    except RecursionError as error:
        raise JsonLineError("nested too deeply") from error
    except ValueError as error:  # a key that occurs twice, or a number of more digits than Python reads
        raise JsonLineError(str(error)) from error


def _syntax(error: json.JSONDecodeError) -> str:
    return f"{error.msg.removesuffix(' at')} at column {error.colno}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs. Raises ValueError if a key occurs twice, for either value may be the right one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} occurs twice in one object; remove one of them")
    return found


def _unpacked(read: Callable[[], bytes]) -> Iterator[JsonLine]:
    """The rows of the bytes that `read` returns, or one row with the reason why it fails."""
    try:
        data = read()
    except (gzip.BadGzipFile, EOFError, zlib.error):
        yield JsonLine(1, b"", problem="the gzip data is damaged or incomplete")
    except UnicodeError as error:
        yield JsonLine(1, b"", problem=f"{error}; save the file as UTF-8")
    else:
        yield from json_lines(io.BytesIO(data))


def _rows(head: bytes, stream: IO[bytes]) -> Iterator[JsonLine]:
    """The rows of UTF-8 bytes: a first line, and a stream that stands behind it."""
    lines = _numbered(chain([head], stream), 1)
    first = next(lines, None)
    if first is None:
        return
    if first.raw.lstrip().startswith(b"[") or not _is_json(first):
        data = first.raw + stream.read()
        text = data.decode("utf-8", errors="surrogateescape")
        found = (_elements if text.lstrip().startswith("[") else _spread)(text, first.number)
        yield from _numbered(io.BytesIO(data), first.number) if found is None else found
        return
    second = next(lines, None)
    if second is None:
        yield replace(first, problem=_no_row(first.value()))
        return
    yield from (first, second)
    yield from lines


def _numbered(lines: Iterable[bytes], start: int) -> Iterator[JsonLine]:
    """The lines that are not blank. `start` is the number of the first line."""
    return (JsonLine(number, line) for number, line in enumerate(lines, start) if line.strip())


def _is_json(line: JsonLine) -> bool:
    try:
        line.value()
    except JsonLineError:
        return False
    return True


def _elements(text: str, line: int) -> list[JsonLine] | None:
    """The elements of the array that the text is; None if the text goes on behind it, as with lines that are arrays.

    A damaged array gives the elements before the damage, and a row with the problem. The text begins in line `line`.
    """
    rows: list[JsonLine] = []
    try:
        at = _after_blank(text, text.index("[") + 1)
        while text[at : at + 1] != "]":
            _, end = _DECODER.raw_decode(text, at)
            rows.append(JsonLine(len(rows) + 1, text[at:end].encode("utf-8", errors="surrogateescape"), "row"))
            at = _next_element(text, end)
    except json.JSONDecodeError as error:
        return [*rows, JsonLine(line + error.lineno - 1, b"", problem=_syntax(error))]
    except RecursionError:
        return [*rows, JsonLine(line, b"", problem="nested too deeply")]
    except ValueError as error:  # a number of more digits than Python reads
        return [*rows, JsonLine(line, b"", problem=str(error))]
    return None if text[at + 1 :].strip() else rows


def _next_element(text: str, end: int) -> int:
    """The position behind the comma after an element, or of the final bracket. Raises JSONDecodeError."""
    at = _after_blank(text, end)
    if text[at : at + 1] not in (",", "]"):
        raise json.JSONDecodeError("Expecting ',' or ']'", text, at)
    return _after_blank(text, at + (text[at] == ","))


def _spread(text: str, line: int) -> list[JsonLine] | None:
    """A row with the problem of an object that spans several lines; None if the text does not begin with one."""
    start = _after_blank(text, 0)
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    more = text.count("\n", start, end)
    if not more:
        return None
    several = f"one object spans {more + 1} lines; write each object on one line, or all of them in one array"
    return [JsonLine(line, b"", problem=_no_row(value) or several)]


def _no_row(value: Any) -> str:
    """The problem of the only object of a file that is a whole table and no row; empty for a row."""
    if not isinstance(value, Mapping) or not value:
        return ""
    fields = list(value.values())
    if len(fields) == 1 and isinstance(fields[0], list) and fields[0] and isinstance(fields[0][0], Mapping):
        return f"the file is one object that holds the rows in its field {next(iter(value))!r}; write that list alone"
    by_index = all(isinstance(field, Mapping) and field.keys() == fields[0].keys() for field in fields)
    by_place = all(isinstance(field, list) and len(field) == len(fields[0]) for field in fields)
    if by_index or by_place:
        return (
            f"the file is one object of columns ({', '.join(map(str, value))}); write one object per row, with pandas:"
            ' to_json(FILE, orient="records", lines=True)'
        )
    return ""


def _after_blank(text: str, at: int) -> int:
    """The position of the first character from `at` that is no white space of JSON."""
    found = _BLANK.match(text, at)
    return found.end() if found else at
