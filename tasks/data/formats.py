"""Read the rows of a local data file: JSON lines, JSON, CSV, Parquet or Arrow.

Every reader yields a `DataRow` with the row's place in the file, so that an error about a value can name it.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.jsonl import JsonLineError, json_lines
from mipo_bench.harness.errors import DataError, first_line
from mipo_bench.tasks.data.rows import DataRow

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_HEAD_BYTES = 4096
_FETCH_AGAIN = "Is the download incomplete? Fetch it again."


def read_rows(file: Path, keep: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda row: row) -> list[DataRow]:
    """All rows of a file. The file's ending selects the reader.

    `keep` returns the columns of a row to keep, so that unused columns take no memory. Raises DataError, with file and
    line, for a file that cannot be read.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror or error}. {_FETCH_AGAIN}") from error
    if data.startswith(_LFS_POINTER):
        raise DataError(f"{file} is a pointer of Git LFS, not the data. Fetch it with: git lfs pull.")
    if not data[:_HEAD_BYTES].strip() and not data.strip():
        raise DataError(f"{file} is empty. {_FETCH_AGAIN}")
    dropped: dict[tuple[str, ...], tuple[str, ...]] = {}  # one tuple for all rows with the same fields
    rows = []
    for row in READERS[file.suffix](file, data):
        kept = keep(row.values)
        rest = tuple(name for name in row.values if name not in kept)
        rows.append(replace(row, values=kept, dropped=dropped.setdefault(rest, rest)))
    if not rows:
        raise DataError(f"{file} holds no rows. {_FETCH_AGAIN}")
    return rows


def _json_lines(file: Path, data: bytes) -> Iterator[DataRow]:
    for line in json_lines(io.BytesIO(data)):
        try:
            value = line.value()
        except JsonLineError as error:
            raise DataError(f"{file}, line {line.number}: not valid JSON: {error}. {_FETCH_AGAIN}") from error
        yield _object(file, line.number, "line", value)


def _json(file: Path, data: bytes) -> Iterator[DataRow]:
    """The rows of a JSON list of objects. A file that does not begin with `[` is read as JSON lines."""
    if not data[:_HEAD_BYTES].removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["):
        yield from _json_lines(file, data)
        return
    for number, value in enumerate(_parsed(file, _decoded(file, data)), 1):
        yield _object(file, number, "row", value)


def _parsed(file: Path, text: str) -> Any:
    """The JSON value of a whole file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{file}, line {error.lineno}"
        raise DataError(f"{where}: not valid JSON: {error.msg} at column {error.colno}. {_FETCH_AGAIN}") from error
    except (RecursionError, ValueError) as error:  # ValueError: a number with more digits than Python reads
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DataError(f"{file}, line 1: not valid JSON: {reason}.") from error


def _decoded(file: Path, data: bytes) -> str:
    """The text of UTF-8 data, with or without a byte order mark. Raises DataError for other encodings."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        raise DataError(
            f"{file}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8. Save the file as UTF-8."
        ) from error


def _object(file: Path, number: int, unit: str, value: object) -> DataRow:
    """The row of a JSON object. Raises DataError for any other JSON value."""
    if not isinstance(value, Mapping):
        raise DataError(f"{file}, {unit} {number}: expected an object with fields, found a {type(value).__name__}.")
    return DataRow(value, str(file), number, unit)


def _csv(file: Path, data: bytes) -> Iterator[DataRow]:
    """The rows below the header. Raises DataError for a row with more or fewer cells than the header."""
    csv.field_size_limit(sys.maxsize)  # the default limit of 128 kB per cell is too small for some conversations
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    reader = csv.reader(text, strict=True)
    try:
        header = next(reader)
        if len(set(header)) < len(header):
            raise DataError(f"{file}, line 1: two columns have the same name: {', '.join(header)}.")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise DataError(f"{file}, line {reader.line_num}: {len(cells)} cells under {len(header)} columns.")
            yield DataRow(dict(zip(header, cells, strict=True)), str(file), reader.line_num, "line")
    except csv.Error as error:
        raise DataError(f"{file}, line {reader.line_num}: not valid CSV: {error}.") from error
    except UnicodeDecodeError:
        _decoded(file, data)  # raises DataError with the line
        raise


def _parquet(file: Path, data: bytes) -> Iterator[DataRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    yield from _table(file, lambda: pq.read_table(pa.BufferReader(data)))


def _arrow(file: Path, data: bytes) -> Iterator[DataRow]:
    """The rows of an Arrow stream, in which `datasets` caches downloads, or of an Arrow file."""
    import pyarrow as pa

    opened = pa.ipc.open_file if data.startswith(b"ARROW1") else pa.ipc.open_stream
    yield from _table(file, lambda: opened(pa.BufferReader(data)).read_all())


def _table(file: Path, read: Callable[[], Any]) -> Iterator[DataRow]:
    """The rows of an Arrow table. Raises DataError if `read` fails."""
    import pyarrow as pa

    try:
        values = read().to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"cannot read {file}: {first_line(error)}. {_FETCH_AGAIN}") from error
    for number, value in enumerate(values, 1):
        yield DataRow(value, str(file), number)


READERS: Mapping[str, Callable[[Path, bytes], Iterator[DataRow]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
    ".arrow": _arrow,
}
"""File ending -> reader."""
