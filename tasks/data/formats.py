"""Read the rows of a local data file: JSON lines, JSON, CSV, Parquet or Arrow, each also compressed with gzip.

Every reader yields a `DataRow` with the row's place in the file, so that an error about a value can name it.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.jsonl import JsonLineError, json_lines, parse_json
from mipo_bench.harness.errors import DataError, first_line, shown
from mipo_bench.tasks.data.rows import DataRow

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_GZIP = b"\x1f\x8b"
_HEAD_BYTES = 4096
_FETCH_AGAIN = "Is the download incomplete? Fetch it again."


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a file to keep, so that unused ones take no memory; an empty tuple keeps all.

    `headerless` are the columns of a CSV file without a header, if the data set is published as one. `rows_in` is the
    field with the rows of a JSON file that is published as one object; the rows take over its other fields.
    """

    names: tuple[str, ...] = ()
    headerless: tuple[str, ...] = ()
    rows_in: str = ""

    def kept(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The columns of a row to keep."""
        return {name: values[name] for name in self.names if name in values} if self.names else values


EVERY_COLUMN = Columns()


def read_rows(file: Path, columns: Columns = EVERY_COLUMN) -> list[DataRow]:
    """All rows of a file. The file's ending selects the reader.

    Raises DataError, with file and line, for a file that cannot be read.
    """
    data = _content(file)
    dropped: dict[tuple[str, ...], tuple[str, ...]] = {}  # one tuple for all rows with the same fields
    rows = []
    for row in READERS[ending(file)](file, data, columns):
        kept = columns.kept(row.values)
        rest = tuple(name for name in row.values if name not in kept)
        rows.append(replace(row, values=kept, dropped=dropped.setdefault(rest, rest)))
    if not rows:
        raise DataError(f"{file} holds no rows. {_FETCH_AGAIN}")
    return rows


def ending(file: Path) -> str:
    """The ending that selects the reader: in small letters, without `.gz`."""
    name = Path(file.name.lower())
    return Path(name.stem).suffix if name.suffix == ".gz" else name.suffix


def stem(file: Path) -> str:
    """The name of the file without the ending and `.gz`."""
    name = Path(file.name)
    return Path(name.stem).stem if name.suffix.lower() == ".gz" else name.stem


def _content(file: Path) -> bytes:
    """The bytes of a file, unpacked. Raises DataError if there are none, or if they are not the data."""
    try:
        data = file.read_bytes()
        data = gzip.decompress(data) if data.startswith(_GZIP) else data
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{file} is damaged gzip data: {error}. {_FETCH_AGAIN}") from error
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror or error}. {_FETCH_AGAIN}") from error
    if data.startswith(_LFS_POINTER):
        raise DataError(f"{file} is a pointer of Git LFS, not the data. Fetch it with: git lfs pull.")
    if not data[:_HEAD_BYTES].strip() and not data.strip():
        raise DataError(f"{file} is empty. {_FETCH_AGAIN}")
    return data


def _json(file: Path, data: bytes, columns: Columns) -> Iterator[DataRow]:
    """The rows of JSON lines, of one JSON array, or of the field `rows_in` of one object, whichever the file holds."""
    if (around := _around(data, columns.rows_in)) is not None:
        more = {name: value for name, value in around.items() if name != columns.rows_in}
        for number, value in enumerate(around[columns.rows_in], 1):
            row = _object(file, number, "row", value)
            yield replace(row, values={**more, **row.values})
        return
    for line in json_lines(io.BytesIO(data)):
        try:
            value = line.value()
        except JsonLineError as error:
            again = f" {_FETCH_AGAIN}" if isinstance(error.__cause__, json.JSONDecodeError) else ""
            raise DataError(f"{file}, {line.where}: not JSON as it is read here: {error}.{again}") from error
        yield _object(file, line.number, line.unit, value)


def _around(data: bytes, rows_in: str) -> Mapping[str, Any] | None:
    """The object around the rows, if the data set is published as one, and the whole file is one."""
    try:
        value = parse_json(data.removeprefix(codecs.BOM_UTF8)) if rows_in else None
    except JsonLineError:
        return None
    return value if isinstance(value, Mapping) and isinstance(value.get(rows_in), list) else None


def _decoded(file: Path, data: bytes) -> str:
    """The text of UTF-8 data, with or without a byte order mark, or of UTF-16 with one. Raises DataError."""
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        if utf16:
            raise DataError(f"{file} begins as UTF-16, but cannot be read: {error}. Save the file as UTF-8.") from error
        line = 1 + data.count(b"\n", 0, error.start)
        raise DataError(
            f"{file}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8. Save the file as UTF-8; one in Latin-1"
            " is changed by: iconv -f LATIN1 -t UTF-8."
        ) from error


def _object(file: Path, number: int, unit: str, value: object) -> DataRow:
    """The row of a JSON object. Raises DataError for any other JSON value."""
    if not isinstance(value, Mapping):
        raise DataError(f"{file}, {unit} {number}: expected an object with fields, found a {type(value).__name__}.")
    return DataRow(value, str(file), number, unit)


def _csv(file: Path, data: bytes, columns: Columns) -> Iterator[DataRow]:
    """The rows below the header. Raises DataError for a row with more or fewer cells than the header.

    Cells are separated by commas; by semicolons or tabs, as spreadsheets write them, if the first line has no comma.
    """
    csv.field_size_limit(sys.maxsize)  # the default limit of 128 kB per cell is too small for some conversations
    text = _decoded(file, data)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=_delimiter(text))
    try:
        first = next(reader, [])
        header = _header(file, first, columns)
        if header is columns.headerless:
            yield DataRow(dict(zip(header, first, strict=True)), str(file), reader.line_num, "line")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise DataError(f"{file}, line {reader.line_num}: {len(cells)} cells under {len(header)} columns.")
            yield DataRow(dict(zip(header, cells, strict=True)), str(file), reader.line_num, "line")
    except csv.Error as error:
        raise DataError(f"{file}, line {reader.line_num}: not valid CSV: {error}.") from error


def _delimiter(text: str) -> str:
    """The character between the cells: the comma, unless only another one is in the first line."""
    first = text.partition("\n")[0]
    return "," if "," in first else next((other for other in ";\t" if other in first), ",")


def _header(file: Path, cells: Sequence[str], columns: Columns) -> Sequence[str]:
    """The names of the columns: the first row, or `headerless` if that is no header. Raises DataError."""
    if columns.headerless and len(cells) == len(columns.headerless) and columns.headerless[0] not in cells:
        return columns.headerless
    if len(set(cells)) < len(cells):
        twice = next(name for name in cells if cells.count(name) > 1)
        raise DataError(f"{file}, line 1: two columns have the same name: {shown(twice)}.")
    return cells


def _parquet(file: Path, data: bytes, _: Columns) -> Iterator[DataRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    yield from _table(file, lambda: pq.read_table(pa.BufferReader(data)))


def _arrow(file: Path, data: bytes, _: Columns) -> Iterator[DataRow]:
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


READERS: Mapping[str, Callable[[Path, bytes, Columns], Iterator[DataRow]]] = {
    ".jsonl": _json,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
    ".arrow": _arrow,
}
"""File ending -> reader. Capital letters and a further `.gz` make no difference."""
