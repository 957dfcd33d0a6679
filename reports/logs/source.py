"""Opens a file and says what kind it is, by its content and not by its name; reads rows and JSON documents."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

from mipo_bench.harness.core.jsonl import JsonLineError, json_lines, parse_json
from mipo_bench.harness.core.text import on_one_line
from mipo_bench.harness.errors import UserError
from mipo_bench.reports.logs.record import place_text
from mipo_bench.reports.logs.rows import Row, show

Kind = Literal["folder", "zip", "parquet", "csv", "json", "rows"]
ColumnKind = Literal["text", "integer", "number"]
LARGE_TABLE = 4 * 1024**2
"""Bytes from which the columns of JSON lines are read all at once."""
LARGEST_DOCUMENT = 2 * 1024**3
"""Bytes of the largest JSON document that is read: unlike lines, a document is held in memory as a whole."""


@dataclass(frozen=True)
class Source:
    """A file or folder. `first` is its JSON document or its first row, with the names of the fields; {} if it has none.

    `kind` is `json` for a document and `rows` for JSON rows, one to a line or in one array.
    """

    path: Path
    kind: Kind
    first: Mapping[str, Any]

    def rows(self, columns: Sequence[str] = ()) -> Iterator[Row]:
        """The rows of a table, one at a time; of a Parquet file these columns alone, if any are named.

        Raises UserError for a row that cannot be read.
        """
        if self.kind == "parquet":
            return _parquet_rows(self.path, columns)
        return _csv_rows(self.path) if self.kind == "csv" else _json_rows(self.path)

    def plain_columns(self, kinds: Mapping[str, ColumnKind]) -> Mapping[str, Any] | None:
        """These columns of a large file of plain JSON lines, as pyarrow arrays without nulls, read all at once.

        A column without any value is left out. Returns None where `rows` has to read the file: each row is then
        checked by itself, and the first wrong one is named.
        """
        if self.kind != "rows" or not self.path.is_file() or self.path.stat().st_size < LARGE_TABLE:
            return None
        return _plain_columns(self.path, kinds)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of the fields of the first row."""
        return tuple(self.first)


def open_source(path: Path) -> Source:
    """Look at the beginning of a file. Raises UserError for one that cannot be read, is empty or is no table."""
    if path.is_dir():
        return Source(path, "folder", {})
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
            if magic == b"PK\x03\x04":
                return Source(path, "zip", {})
            if magic == b"PAR1":
                return Source(path, "parquet", dict.fromkeys(_parquet_names(path)))
            stream.seek(0)
            return _text_source(path, stream)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _text_source(path: Path, stream: IO[bytes]) -> Source:
    row = next(json_lines(stream), None)
    if row is None:
        raise UserError(f"{path}: the file is empty; at least one row with a score is needed.")
    try:
        value = row.value()
    except JsonLineError:
        value = None
    if isinstance(value, Mapping):
        return Source(path, "rows", value)
    beginning = _beginning(path)
    if beginning.startswith("{") and (found := _document(path)) is not None:
        return Source(path, "json", found)
    if value is None and not beginning.startswith(("{", "[")):
        if names := _csv_names(beginning):
            return Source(path, "csv", dict.fromkeys(names))
        if _csv_names(f"{beginning.rstrip()}\n-"):
            raise UserError(f"{path}: a heading without rows; at least one row with a score is needed.")
    return Source(path, "rows", {})  # reading its rows says what is wrong


def _beginning(path: Path) -> str:
    """The first 64 KiB as text, without a byte order mark and white space before it."""
    with _opened(path) as stream:
        try:
            head = stream.read(65536)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            return ""  # reading the rows says what is wrong
    encoding = json.detect_encoding(head[:4]) if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    return head.decode(encoding, errors="replace").lstrip()


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return io.BufferedReader(gzip.GzipFile(path)) if packed else path.open("rb")


def _document(path: Path) -> Mapping[str, Any] | None:
    """The object that the whole file is; None if it is none. Raises UserError for one that is too large."""
    size = path.stat().st_size
    if size > LARGEST_DOCUMENT:
        raise UserError(f"{path}: a JSON document of {size / 1024**3:.1f} GiB is too large to be read as a whole.")
    try:
        with _opened(path) as stream:
            raw = stream.read()
        value = parse_json(raw.decode(json.detect_encoding(raw)).encode())
    except (JsonLineError, UnicodeError, EOFError):
        return None
    return value if isinstance(value, Mapping) else None


def _json_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as stream:
        for line in json_lines(stream):
            try:
                fields = line.value()
            except JsonLineError as error:
                where = place_text(path, line.number, line.unit)
                raise UserError(f"{where}: not JSON ({error}). Write one JSON object per line.") from error
            if not isinstance(fields, dict):
                where = place_text(path, line.number, line.unit)
                raise UserError(f"{where}: {show(fields)} is not a JSON object. Write one per line.")
            yield Row(path, line.number, fields, line.unit)


def _plain_columns(path: Path, kinds: Mapping[str, ColumnKind]) -> dict[str, Any] | None:
    import pyarrow as pa
    from pyarrow import json as arrow_json

    types = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in kinds.items()])
    parse = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    lines = _lines_of_objects(path)
    try:
        table = arrow_json.read_json(path, parse_options=parse)
    except (pa.ArrowException, OSError):
        return None
    columns = {name: table.column(name).combine_chunks() for name in kinds}
    if table.num_rows != lines or any(0 < column.null_count < lines for column in columns.values()):
        return None
    return {name: column for name, column in columns.items() if not column.null_count}


def _lines_of_objects(path: Path) -> int:
    """The number of lines if each begins with `{`, so that as many objects are one to a line; else 0."""
    lines, objects, last = 0, 0, b"\n"
    with path.open("rb") as stream:
        while block := stream.read(1 << 24):
            objects += (last + block).count(b"\n{")
            lines += block.count(b"\n")
            last = block[-1:]
    lines += last != b"\n"
    return lines if lines == objects else 0


def _dialect(beginning: str) -> str:
    """The delimiter: that of comma, semicolon and tab which the heading has most of."""
    heading = beginning.split("\n", 1)[0]
    return max(",;\t", key=heading.count)


def _csv_names(beginning: str) -> list[str]:
    """The column names of a table; [] if the text is none: fewer than two columns, or nothing below the heading."""
    rows = csv.reader(io.StringIO(beginning, newline=""), delimiter=_dialect(beginning))
    try:
        names, below = next(rows, []), next(rows, None)
    except csv.Error:
        return []
    return names if len(names) > 1 and below is not None and "\x00" not in beginning else []


def _csv_rows(path: Path) -> Iterator[Row]:
    """The rows of a CSV file with their line numbers. Raises UserError for a heading with a name twice, and others."""
    beginning = _beginning(path)
    with _opened(path) as raw, io.TextIOWrapper(raw, encoding=_csv_encoding(path), newline="") as stream:
        reader = csv.reader(stream, delimiter=_dialect(beginning))
        try:
            names = next(reader)
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise UserError(f"{path}:1: the column {twice!r} occurs twice in the heading; rename one of them.")
            for cells in reader:
                if len(cells) == len(names):
                    yield Row(path, reader.line_num, dict(zip(names, cells, strict=True)), texts=True)
                elif cells:
                    raise UserError(f"{path}:{reader.line_num}: {len(cells)} cells, and the heading has {len(names)}.")
        except csv.Error as error:
            raise UserError(f"{path}:{reader.line_num}: not CSV ({error}).") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: a byte that is not UTF-8 ({error.reason}); save the file as UTF-8.") from error


def _csv_encoding(path: Path) -> str:
    with _opened(path) as stream:
        head = stream.read(4)
    return "utf-16" if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _parquet_names(path: Path) -> list[str]:
    from pyarrow import ArrowException, parquet

    try:
        return list(parquet.read_schema(path).names)
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: a damaged or incomplete Parquet file ({_first_line(error)}).") from error


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    from pyarrow import ArrowException, parquet

    names = _parquet_names(path)
    wanted = [name for name in names if any(c == name or c.startswith(f"{name}.") for c in columns)] or names
    place = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=wanted):
                for fields in batch.to_pylist():
                    place += 1
                    yield Row(path, place, fields, "row")
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: a damaged or incomplete Parquet file ({_first_line(error)}).") from error


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0].rstrip(".")


def inside(folder: Path) -> str:
    """A sentence about the files of a folder, for messages."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"It has {', '.join(map(on_one_line, names[:5]))}{more}." if names else "It has no files."
