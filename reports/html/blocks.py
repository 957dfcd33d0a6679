"""Data blocks of the HTML report: JSON, deflated and in base64, which the page's program unpacks when it needs them.

A block holds letters, digits, `+`, `/` and `=` alone, so that no text can end its element. Texts stand in blocks of
64 items with the texts of all arms, so that the page of one item needs one block.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipo_bench.harness.core.text import storable
from mipo_bench.reports.records.report import ArmRecord, Report, TaskRecord

ITEMS = 64
"""Items in a block of texts."""
_LEVEL = 9


@dataclass(frozen=True, slots=True)
class Block:
    """A data block: the id of its element, its data, and the bytes of the JSON text inside."""

    id: str
    data: str
    size: int


def pack(name: str, value: object) -> Block:
    """A block of a JSON value."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    raw = storable(text).encode()
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return Block(name, base64.b64encode(packer.compress(raw) + packer.flush()).decode(), len(raw))


def index_blocks(report: Report) -> Iterable[Block]:
    """A block for each task: its items, users and the scores of each arm, by which the sample browser filters."""
    for n, task in enumerate(report.tasks):
        arms = [_arm(arm, task) for arm in report.arms if arm.task == task.name]
        yield pack(f"index-{n}", {"items": task.items, "users": task.users, "arms": arms})


def text_blocks(number: int, items: Sequence[Mapping[str, Any] | None]) -> Iterable[Block]:
    """The texts of a task in blocks; None for an item that is left out. `number` is that of the task."""
    for start in range(0, len(items), ITEMS):
        part = list(items[start : start + ITEMS])
        if any(part):
            yield pack(f"texts-{number}-{start // ITEMS}", part)


def _arm(arm: ArmRecord, task: TaskRecord) -> dict[str, Any]:
    place = {item: n for n, item in enumerate(task.items)}
    return {
        "method": arm.method,
        "seed": arm.train_seed,
        "noise": arm.noise,
        "scores": [_short(score) for score in arm.scores],
        "tokens": arm.n_tokens,
        "parts": {name: [None if v is None else _short(v) for v in values] for name, values in arm.parts.items()},
        "cut": sorted(place[item] for item in arm.truncated if item in place),
        "none": sorted(place[item] for item in arm.unparsed if item in place),
        "failed": {str(place[item]): reason for item, reason in arm.failed.items() if item in place},
    }


def _short(value: float) -> float | int:
    """A score with six digits; a whole one as an integer, which is half the size."""
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded.is_integer() else rounded
