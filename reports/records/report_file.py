"""Reads and writes `report.json`: checks schema version and digest, and makes the canonical text."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from mipo_bench.harness.errors import ReportError
from mipo_bench.reports.records.report import SCHEMA_VERSION, Report
from mipo_bench.reports.records.upgrade import upgraded

REPORT_FILE = "report.json"
RUN_ID_LENGTH = 12
_EXACT = 2**53
"""Whole numbers below this are exact as float and as integer."""
_CHANGED = (dict, list, float)
"""Types of values that `_short` changes, or looks into."""
_DIGITS = 300
"""The largest number of characters of a whole number that still fits into a float."""


def load_report(path: Path) -> Report:
    """Read a `report.json`, given the file or its folder. Raises ReportError that names the problem."""
    file = path
    try:
        file = path / REPORT_FILE if path.is_dir() and path.name != REPORT_FILE else path
        text = file.read_text(encoding="utf-8")
    except IsADirectoryError as error:
        raise ReportError(f"{file} is a folder, not a report of `mipo-bench run`: rename or remove it.") from error
    except FileNotFoundError as error:
        raise ReportError(f"there is no report {file}. `mipo-bench run` writes one.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"cannot read the report {file}: {error}.") from error
    return parse_report(text, str(file))


def parse_report(text: str, name: str) -> Report:
    """The report in a JSON text; `name` is its source in messages. Raises ReportError that names the problem."""
    values = _values(text, name)
    _check_version(values["schema_version"], name)
    _check_digest(values, name)
    try:
        return Report.model_validate(upgraded(values))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise ReportError(f"{name} is damaged: {reason} ({error.error_count()} problems).") from error


def _values(text: str, name: str) -> dict[str, Any]:
    try:
        values = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise ReportError(f"cannot read the report {name}: {error}. Is it truncated?") from error
    if not isinstance(values, dict) or not isinstance(values.get("schema_version"), str):
        raise ReportError(f"{name} is not a mipo-bench report: it has no schema_version.")
    return values


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {digits[:20]} is too large")
    return value


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"the number {digits[:20]}... is too large")
    return int(digits)


def _check_version(version: str, name: str) -> None:
    major, known = version.split(".", maxsplit=1)[0], SCHEMA_VERSION.split(".", maxsplit=1)[0]
    if not (major.isascii() and major.isdigit()) or int(major) > int(known):
        raise ReportError(f"{name} has report schema {version}; this mipo-bench reads up to {known}.x. Upgrade it.")


def _check_digest(values: dict[str, Any], name: str) -> None:
    """Raise ReportError for a wrong or missing digest; only schema 1.0 had none."""
    stated, found = values.get("digest"), content_digest(values)
    if stated != found and not (stated is None and values["schema_version"] == "1.0"):
        shown = str(stated or "missing")[:RUN_ID_LENGTH]
        raise ReportError(
            f"{name} has been changed since mipo-bench wrote it: its digest is {shown}, its content has "
            f"{found[:RUN_ID_LENGTH]}. Restore it, or write it again with `mipo-bench run`."
        )


def content_digest(values: dict[str, Any]) -> str:
    """SHA-256, hexadecimal, of a report's values without `digest`, whatever their order and white space."""
    rest = {key: value for key, value in values.items() if key != "digest"}
    return hashlib.sha256(_compact_json(rest, sort_keys=True).encode()).hexdigest()


def seal(report: Report) -> Report:
    """The report with the digest of its content."""
    return report.model_copy(update={"digest": content_digest(_dump(report))})


def run_id(report: Report) -> str:
    """The id of a run: the first digits of its report's digest."""
    return (report.digest or seal(report).digest)[:RUN_ID_LENGTH]


@dataclass(frozen=True, slots=True)
class SealedReport:
    """A report with the digest of its content, and its text: what a file of it holds."""

    report: Report
    text: str


def sealed(report: Report) -> SealedReport:
    """The report with its digest and its canonical JSON text: compact, one line for each task, arm and comparison."""
    values = _dump(report)
    values["digest"] = content_digest(values)
    lines = ",\n".join(f"{json.dumps(key)}:{_lines(value)}" for key, value in values.items())
    return SealedReport(report.model_copy(update={"digest": values["digest"]}), "{\n" + lines + "\n}\n")


def to_json(report: Report) -> str:
    """The canonical JSON text of a report with its digest."""
    return sealed(report).text


def _lines(value: object) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(_compact_json(element) for element in value) + "\n]"
    return _compact_json(value)


def _compact_json(value: object, *, sort_keys: bool = False) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=sort_keys, allow_nan=False)


def _dump(report: Report) -> dict[str, Any]:
    values: dict[str, Any] = _short(report.model_dump(mode="json"))
    return values | {"schema_version": SCHEMA_VERSION}


def _short(value: Any) -> Any:
    """The value with whole floats as integers (most scores are 0 or 1) and non-finite floats as None."""
    if isinstance(value, dict):
        return {key: _short(part) if isinstance(part, _CHANGED) else part for key, part in value.items()}
    if isinstance(value, list):
        return [_short(part) if isinstance(part, _CHANGED) else part for part in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < _EXACT else value
    return value
