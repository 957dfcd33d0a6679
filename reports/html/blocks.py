"""Data blocks of the HTML report: JSON, deflated and in base64, which the page's program unpacks when it needs them.

A block holds letters, digits, `+`, `/` and `=` alone, so that no text can end its element. Texts stand in blocks of
64 items with the texts of all arms, so that the page of one item needs one block.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipo_bench.harness.core.text import storable
from mipo_bench.reports.records.report import ArmRecord, Report, TaskRecord

ITEMS = 64
"""Items in a block of texts."""
_START = 100
"""Characters of a prompt in the list of items."""
_LEVEL = 6
"""Level 9 takes two and a half times as long and makes English smaller by less than 1%."""


@dataclass(frozen=True, slots=True)
class Block:
    """A data block: the id of its element, its data, and the bytes and the SHA-256 of the JSON text inside."""

    id: str
    data: str
    size: int
    sha256: str

    @property
    def apart(self) -> bool:
        """Whether a report in several files has the block in a file of its own: those with the texts of items."""
        return self.id.startswith("texts-")

    @property
    def file(self) -> str:
        """The name of that file."""
        return f"texts/{self.id.removeprefix('texts-')}.js"

    def program(self) -> str:
        """Its content: it hands the data over to the page."""
        return f'mipoBenchBlock("{self.id}", "{self.data}");\n'


def pack(name: str, value: object) -> Block:
    """A block of a JSON value."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    raw = storable(text).encode()
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = base64.b64encode(packer.compress(raw) + packer.flush()).decode()
    return Block(name, data, len(raw), hashlib.sha256(raw).hexdigest())


@dataclass(frozen=True, slots=True)
class IndexArm:
    """An arm in the sample browser: its label, its record, and the places in it of the browser's items."""

    label: str
    record: ArmRecord
    places: Sequence[int]


def index_blocks(report: Report) -> Iterable[Block]:
    """A block for each task: its items, users and the scores of each arm, by which the sample browser filters."""
    for n, task in enumerate(report.tasks):
        everywhere = range(len(task.items))
        arms = [IndexArm(arm.method, arm, everywhere) for arm in report.arms if arm.task == task.name]
        judge = next((f"{judge.name}, {judge.kind}" for judge in report.judges if judge.task == task.name), None)
        about = {"reference": task.reference, "judge": judge, "pair": _pair(report, task)}
        yield index_block(n, task.items, task.users, arms, about)


def index_block(
    number: int, items: Sequence[str], users: Sequence[str] | None, arms: Iterable[IndexArm], about: Mapping[str, Any]
) -> Block:
    """The index of the task of that number. `about["pair"]` has the base and the method that are shown at first."""
    return pack(
        f"index-{number}", {"items": items, "users": users, "arms": [_arm(arm, items) for arm in arms], **about}
    )


def _pair(report: Report, task: TaskRecord) -> list[str] | None:
    """Base and method of the first primary comparison, or of any other."""
    own = [c for c in report.comparisons if c.task == task.name]
    primary = [c for c in own if c.family == "primary"]
    return next(([c.base, c.method] for c in (*primary, *own)), None)


def text_blocks(number: int, items: Iterable[Mapping[str, Any] | None]) -> Iterable[Block]:
    """The texts of a task in blocks, and a block with the beginnings of all prompts, for the list of items.

    None stands for an item that is left out. `number` is that of the task.
    """
    entries, starts = iter(items), []
    for block in itertools.count():
        part = list(itertools.islice(entries, ITEMS))
        if not part:
            break
        starts += [_start(entry["prompt"]) if entry else "" for entry in part]
        if any(part):
            yield pack(f"texts-{number}-{block}", part)
    if any(starts):
        yield pack(f"starts-{number}", starts)


def _start(prompt: str | None) -> str:
    text = prompt or ""
    return text if len(text) <= _START else text[:_START] + "\u2026"


def _arm(arm: IndexArm, items: Sequence[str]) -> dict[str, Any]:
    place, record = {item: n for n, item in enumerate(items)}, arm.record
    parts = {name: [values[n] for n in arm.places] for name, values in record.parts.items()}
    return {
        "method": arm.label,
        "seed": record.train_seed,
        "noise": record.noise,
        "scores": [_short(record.scores[n]) for n in arm.places],
        "tokens": [record.n_tokens[n] for n in arm.places],
        "parts": {name: [None if v is None else _short(v) for v in values] for name, values in parts.items()},
        "cut": sorted(place[item] for item in record.truncated if item in place),
        "none": sorted(place[item] for item in record.unparsed if item in place),
        "failed": {str(place[item]): reason for item, reason in record.failed.items() if item in place},
    }


def _short(value: float) -> float | int:
    """A score with six digits; a whole one as an integer, which is half the size."""
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded.is_integer() else rounded
