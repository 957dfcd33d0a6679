"""A finished run as a row of the store: its report, the keys of its responses, and all keys that it used."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mipo_bench.harness.core.hashing import digest


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A finished run. `id` is the digest of its report; `keys` holds item -> response key for each of its arms.

    `used` maps each table to the keys that the run used; None for a run of store schema 1, which did not record them.
    """

    id: str
    created: str
    report: str
    keys: Sequence[Mapping[str, str]]
    used: Mapping[str, Sequence[str]] | None = field(default=None, compare=False)


def row_of_run(run: StoredRun, used: Mapping[str, Sequence[str]]) -> tuple[object, ...]:
    """The row of a run, its digest last. `used` is recorded if the run itself has none."""
    recorded = used if run.used is None else run.used
    packed = [_pack(text) for text in (run.report, json.dumps(list(run.keys)), json.dumps(recorded))]
    row = (run.id, run.created, *packed)
    return (*row, digest(row))


def run_from_row(row: Sequence[Any]) -> StoredRun | None:
    """The run in a row of the table; None if the row is damaged."""
    *content, stated = row
    if digest(content) != stated:
        return None
    name, created, report, keys, used = content
    try:
        return StoredRun(
            name,
            created,
            _unpack(report),
            json.loads(_unpack(keys)),
            None if used is None else json.loads(_unpack(used)),
        )
    except (zlib.error, ValueError):
        return None


def _pack(text: str) -> bytes:
    return zlib.compress(text.encode(), 1)


def _unpack(blob: bytes) -> str:
    return zlib.decompress(blob).decode()
