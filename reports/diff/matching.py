"""Matches the items of two reports: by id and by the hashes of prompt and target. `diff_reports` tests the matches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mipo_bench.harness.errors import NotComparableError
from mipo_bench.reports.diff.records import ChangedItem
from mipo_bench.reports.records.report import ArmRecord, TaskRecord
from mipo_bench.reports.stats import Scores

Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Matching:
    """The matching items of one task, with their positions `a` and `b` in the two reports, and the other items."""

    items: NDArray[np.object_]
    users: NDArray[np.object_] | None
    a: Positions
    b: Positions
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[ChangedItem, ...]

    def scores(self, arms: Sequence[ArmRecord], positions: Positions) -> Scores:
        """The scores on the matching items of one method; `arms` holds one arm for each training seed."""
        count = len(arms)
        seeds = [arm.train_seed for arm in arms]
        return Scores(
            item=np.tile(self.items, count),
            value=np.concatenate([np.asarray(arm.scores, dtype=np.float64)[positions] for arm in arms]),
            cluster=None if self.users is None else np.tile(self.users, count),
            seed=None if None in seeds else np.repeat(np.asarray(seeds, dtype=np.int64), len(positions)),
        )


def match_items(a: TaskRecord, b: TaskRecord) -> Matching:
    """Match the items of a task. Raises NotComparableError if a matching item belongs to different users."""
    place = {item: n for n, item in enumerate(b.items)}
    pairs = [(n, place[item]) for n, item in enumerate(a.items) if item in place]
    same = [(i, j) for i, j in pairs if not _changes(a, i, b, j)]
    _refuse_other_users(a, b, same)
    known = set(a.items)
    left, right = (np.asarray([pair[n] for pair in same], dtype=np.intp) for n in (0, 1))
    return Matching(
        items=np.asarray(a.items, dtype=object)[left],
        users=None if a.users is None else np.asarray(a.users, dtype=object)[left],
        a=left,
        b=right,
        added=tuple(item for item in b.items if item not in known),
        removed=tuple(item for item in a.items if item not in place),
        changed=tuple(ChangedItem(a.items[i], parts) for i, j in pairs if (parts := _changes(a, i, b, j))),
    )


def _changes(a: TaskRecord, i: int, b: TaskRecord, j: int) -> str:
    """The parts that differ between two items of the same id, in words; empty if none does."""
    found = ["prompt"] if a.prompt_hashes[i] != b.prompt_hashes[j] else []
    found += ["target"] if a.target_hashes[i] != b.target_hashes[j] else []
    return " and ".join(found)


def _refuse_other_users(a: TaskRecord, b: TaskRecord, same: Sequence[tuple[int, int]]) -> None:
    if not same:
        return
    if (a.users is None) != (b.users is None):
        has, lacks = ("A", "B") if a.users else ("B", "A")
        raise NotComparableError(
            f"task {a.name!r} has users in {has} and none in {lacks}: the unit of the test would not be the same. "
            "Run both sides with the same version of the task."
        )
    for i, j in same:
        if a.users and b.users and a.users[i] != b.users[j]:
            raise NotComparableError(
                f"item {a.items[i]!r} of task {a.name!r} belongs to user {a.users[i]!r} in A and to {b.users[j]!r} "
                "in B. An item must belong to the same user on both sides."
            )
