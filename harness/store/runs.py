"""A finished run as a row of the store: its report, the keys of its responses, and everything that it used."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mipo_bench.harness.core.hashing import digest


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A finished run. `id` is the digest of its report, `keys` holds item -> response key for each arm of it.

    `used` names everything that it took from the store, by table; None for a run of store schema 1, which did not say.
    """

    id: str
    created: str
    report: str
    keys: Sequence[Mapping[str, str]]
    used: Mapping[str, Sequence[str]] | None = field(default=None, compare=False)


def row_of_run(run: StoredRun, used: Mapping[str, Sequence[str]]) -> tuple[object, ...]:
    """The row of a run, digest last. `used` stands in where the run does not say what it used."""
    kept = used if run.used is None else run.used
    packed = [_pack(text) for text in (run.report, json.dumps(list(run.keys)), json.dumps(kept))]
    row = (run.id, run.created, *packed)
    return (*row, digest(row))


def run_from_row(row: Sequence[Any]) -> StoredRun | None:
    """The run in a row of the table; None where the row is damaged."""
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
    return zlib.compress(text.encode())


def _unpack(blob: bytes) -> str:
    return zlib.decompress(blob).decode()
