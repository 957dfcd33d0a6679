"""The reader of JSON Lines files that other programs or people wrote: scores, responses, labels and data sets."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


class JsonLineError(ValueError):
    """A line is not JSON; the message says why, without the file and the number of the line."""


@dataclass(frozen=True, slots=True)
class JsonLine:
    """A line that is not blank, with its number in the file, counted from 1."""

    number: int
    raw: bytes

    def value(self) -> Any:
        """The JSON value. Raises JsonLineError."""
        return parse_json(self.raw)


def json_lines(stream: Iterable[bytes]) -> Iterator[JsonLine]:
    r"""The lines of a file opened in binary mode, one at a time; blank lines are counted but not yielded.

    Lines end with "\n" alone, because texts may hold other characters at which `str.splitlines` would break. A byte
    order mark at the beginning is dropped.
    """
    for number, raw in enumerate(stream, 1):
        line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
        if line.strip():
            yield JsonLine(number, line)


def parse_json(raw: bytes) -> Any:
    """The JSON value of UTF-8 bytes. Raises JsonLineError."""
    try:
        return json.loads(raw.decode("utf-8"))
    except json.JSONDecodeError as error:
        raise JsonLineError(f"{error.msg} at column {error.colno}") from error
    except UnicodeDecodeError as error:
        byte = raw[error.start]
        raise JsonLineError(f"byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from error
    except RecursionError as error:
        raise JsonLineError("nested too deeply") from error
    except ValueError as error:  # a number of more digits than Python reads
        raise JsonLineError(str(error)) from error
