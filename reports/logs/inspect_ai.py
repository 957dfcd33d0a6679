"""inspect_ai's logs: `.eval` (a zip archive) and `.json` (one document), of version 2.

{"version": 2, "status": "success", "eval": {"task": .., "model": ..}, "samples": [
    {"id": "q1", "epoch": 1, "input": "..", "target": "..", "scores": {"match": {"value": "C"}}}]}

An archive holds the same as `header.json` and `summaries.json`. The item is `id`, and epochs are its samples.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.jsonl import JsonLineError, parse_json
from mipo_bench.harness.errors import UserError
from mipo_bench.reports.logs.collect import Columns
from mipo_bench.reports.logs.record import Choice, Header, ScoreFile
from mipo_bench.reports.logs.rows import Row, listed, mapping, show, unknown_name
from mipo_bench.reports.logs.source import Source
from mipo_bench.reports.statistics.records import Caveat

NAME = "inspect_ai"
CHOICES = ("metric", "user")
_ZSTANDARD = 93
_VALUES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_UNFINISHED = "--allow-unfinished reads the samples that are there"


@dataclass(frozen=True, slots=True)
class _Log:
    header: Mapping[str, Any]
    samples: list[Row]


def is_archive(path: Path) -> bool:
    """Whether a zip archive holds a log. Raises UserError for a damaged archive."""
    return any(name in ("header.json", "_journal/start.json") for name in _names(path))


def is_log(document: Mapping[str, Any]) -> bool:
    """Whether a JSON document is a log."""
    return isinstance(document.get("eval"), Mapping) and "version" in document and "status" in document


def read(source: Source, choice: Choice) -> list[ScoreFile]:
    """The scores of one scorer, or of one of its values, `--metric SCORER.KEY`.

    Raises UserError for a damaged archive, a log without samples, one of a run that did not end, several scorers
    without a choice, and a sample without a score.
    """
    log = _log(source, choice)
    names = _metric_names(log)
    if choice.metric and choice.metric not in names:
        raise UserError(f"{source.path}: {unknown_name('metric', choice.metric, names)}")
    if not choice.metric and len(names) != 1:
        offered = listed(names) if names else "no sample has a score"
        raise UserError(f"{source.path}: choose a score with --metric: {offered}.")
    metric = choice.metric or names[0]
    columns = Columns(source.path, "sample", choice.columns.get("user", ""))
    for row in log.samples:
        _add(columns, row, metric, choice)
    return [columns.finish(_header(log, metric), twice="epoch")]


def metrics(source: Source, choice: Choice) -> list[Choice]:
    """Every scorer, and every key of a scorer whose values are objects."""
    return [replace(choice, metric=name) for name in _metric_names(_log(source, replace(choice, unfinished=True)))]


def _add(columns: Columns, row: Row, metric: str, choice: Choice) -> None:
    user = choice.columns.get("user")
    if user and not row.has(user):
        known = [f"metadata.{name}" for name in mapping(row.fields.get("metadata"))]
        row.fail(f"--user: {unknown_name('field', user, known).rstrip('.')}")
    columns.add(
        row.text("id"),
        _score(row, metric, choice),
        row.place,
        user=row.text(user) if user else None,
        sample=row.integer("epoch"),
        input_=_fingerprint(row),
    )


def _fingerprint(row: Row) -> str:
    """Of input and target, as far as summaries, which cut long texts, have them; empty for a list of messages."""
    parts = [row.fields.get(name) for name in ("input", "target")]
    return digest(str(part)[:500] for part in parts) if isinstance(parts[0], str) else ""


def _score(row: Row, metric: str, choice: Choice) -> float:
    value = _values(row).get(metric)
    if isinstance(value, str) and value not in choice.values:
        plain = _VALUES.get(value, _VALUES.get(value.lower()) if len(value) > 1 else None)
        value = plain if plain is not None else _as_number(value)
    if value is None and not choice.allow_missing:
        error = row.fields.get("error")
        reason = "it ended with an error" if error else "it was not scored"
        row.fail(
            f"the sample {row.text('id')!r}, epoch {row.fields.get('epoch')}, has no score {metric}: {reason}. "
            "--missing drop leaves such items out, --missing zero counts them as 0"
        )
    return row.number(metric, value, allow_missing=choice.allow_missing, values=choice.values)


def _as_number(value: str) -> object:
    try:
        number = float(value)
    except ValueError:
        return value
    return number if math.isfinite(number) else value


def _values(row: Row) -> dict[str, object]:
    """The values of a sample by metric: the scorer, or scorer and key."""
    found: dict[str, object] = {}
    for scorer, score in mapping(row.fields.get("scores")).items():
        value = mapping(score).get("value")
        if isinstance(value, Mapping):
            found |= {f"{scorer}.{key}": entry for key, entry in value.items()}
        else:
            found[scorer] = value
    return found


def _metric_names(log: _Log) -> list[str]:
    return list(dict.fromkeys(name for row in log.samples for name in _values(row)))


def _header(log: _Log, metric: str) -> Header:
    run = mapping(log.header.get("eval"))
    dataset, config = mapping(run.get("dataset")), mapping(run.get("config"))
    alike = {"task": run.get("task"), "task version": run.get("task_version"), "data set": dataset.get("name")}
    told = {"epochs": config.get("epochs"), "limit": config.get("limit") or "none" if config else None}
    scores = [mapping(score) for row in log.samples for score in mapping(row.fields.get("scores")).values()]
    edited = sum(bool(score.get("history")) for score in scores)
    notes = (Caveat("edited_scores", f"scores that were edited after the run: {edited}"),) if edited else ()
    return Header(
        str(run.get("model") or ""),
        metric,
        alike={name: str(value) for name, value in alike.items() if value is not None},
        told={name: str(value) for name, value in told.items() if value is not None},
        notes=notes,
        unit="sample",
        item_name="id",
    )


def _log(source: Source, choice: Choice) -> _Log:
    header, samples = _archive(source.path) if source.kind == "zip" else _document(source)
    version = header.get("version")
    if version != 2:
        raise UserError(f"{source.path}: a log of inspect_ai with version {show(version)}; 2 can be read.")
    status = header.get("status")
    if not choice.unfinished and (status != "success" or header.get("invalidated")):
        state = "was invalidated" if status == "success" else f"has the status {show(status)}"
        raise UserError(f"{source.path}: the run {state}. {_UNFINISHED}.")
    if not isinstance(samples, list) or not samples:
        raise UserError(f"{source.path}: the log holds no samples; run inspect_ai without --no-log-samples.")
    rows = [Row(source.path, place, mapping(fields), "sample") for place, fields in enumerate(samples, 1)]
    return _Log(header, _last_logged(rows, choice))


def _last_logged(rows: list[Row], choice: Choice) -> list[Row]:
    """One row for each id and epoch: of a sample that was logged again, the last."""
    for row in rows:
        if row.has("invalidation") and not choice.unfinished:
            row.fail(f"the sample {row.text('id')!r} was invalidated. {_UNFINISHED}")
    return list({(row.text("id"), row.integer("epoch")): row for row in rows}.values())


def _document(source: Source) -> tuple[Mapping[str, Any], Any]:
    return source.first, source.first.get("samples")


def _archive(path: Path) -> tuple[Mapping[str, Any], Any]:
    names = _names(path)
    if "header.json" not in names:
        start = _member(path, "_journal/start.json")
        return {"status": "started", **mapping(start)}, list(_journal(path, names))
    return mapping(_member(path, "header.json")), _summaries(path, names)


def _summaries(path: Path, names: list[str]) -> Any:
    return _member(path, "summaries.json") if "summaries.json" in names else list(_journal(path, names))


def _journal(path: Path, names: list[str]) -> Iterator[Any]:
    parts = sorted((n for n in names if n.startswith("_journal/summaries/")), key=lambda n: (len(n), n))
    for name in parts:
        found = _member(path, name)
        yield from found if isinstance(found, list) else []


def _names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path}: a damaged or incomplete zip archive ({error}); copy or make it again.") from error


def _member(path: Path, name: str) -> Any:
    """The JSON value of a member. Members of newer logs are compressed with Zstandard, which pyarrow unpacks."""
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(name)
            data = _unpack(path, info) if info.compress_type == _ZSTANDARD else archive.read(info)
        return parse_json(data)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, KeyError, JsonLineError) as error:
        raise UserError(f"{path}: the member {name} is damaged ({error}); copy or make the log again.") from error


def _unpack(path: Path, info: zipfile.ZipInfo) -> bytes:
    import pyarrow as pa

    with path.open("rb") as stream:
        stream.seek(info.header_offset + 26)  # of the local header: the lengths of the name and of the extra field
        stream.seek(sum(struct.unpack("<HH", stream.read(4))), 1)
        raw = stream.read(info.compress_size)
    data: bytes = pa.CompressedInputStream(pa.BufferReader(raw), "zstd").read()
    if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
        raise zipfile.BadZipFile("its length or checksum is wrong")
    return data
