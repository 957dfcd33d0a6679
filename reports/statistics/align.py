"""Turns long score tables into matrices on the same items and training seeds, with samples averaged.

`compare` and `summarize` begin with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from operator import le, lt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipo_bench.reports.statistics.clusters import Codes, zero_rounding_noise
from mipo_bench.reports.statistics.records import (
    MISSING,
    Caveat,
    Floats,
    Missing,
    MissingScoresError,
    Scores,
    name_items,
)


@dataclass(frozen=True, slots=True)
class Table:
    """One arm as a matrix: `values` is (seeds, items), NaN for a missing score; items are sorted.

    `seeds` is empty for an untrained arm; `values` then has one row. `users` has the user of each item, (items,).
    """

    items: tuple[str, ...]
    seeds: tuple[int, ...]
    values: Floats
    users: NDArray[Any] | None


@dataclass(frozen=True, slots=True)
class Paired:
    """Both arms on the same items and seeds: scores are (seeds, items), `cluster` is (items,).

    `items` names the columns, `clusters` the codes in `cluster`: users, or items without users.
    """

    base: Floats
    method: Floats
    cluster: Codes
    items: tuple[str, ...]
    clusters: tuple[str, ...]
    seeds: tuple[int, ...]
    warnings: tuple[Caveat, ...]

    @property
    def difference(self) -> Floats:
        """Method - base, (seeds, items); differences of the size of rounding errors are set to zero."""
        return zero_rounding_noise(self.method - self.base, np.maximum(np.abs(self.base), np.abs(self.method)))


def tabulate(scores: Scores, missing: Missing = "error") -> Table:
    """Average the samples of each prompt and lay the arm out as seeds x items.

    Raises ValueError for a duplicate (item, seed, sample) row and for an item with two users.
    """
    items, column = factorize(list(map(str, scores.item)))
    seeds, row = factorize(scores.seed.tolist()) if scores.seed is not None else ([], np.zeros_like(column))
    shape = (max(1, len(seeds)), len(items))
    cell = row * len(items) + column
    _refuse_duplicates(scores, cell)
    value = np.nan_to_num(scores.value, nan=0.0) if missing == "zero" else scores.value
    order = np.lexsort((value, cell))  # a fixed order of summation: the order of rows changes nothing
    total = np.bincount(cell[order], weights=value[order], minlength=shape[0] * shape[1])
    count = np.bincount(cell, minlength=total.size)
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return Table(tuple(items), tuple(seeds), mean.reshape(shape), _users(scores, items, column))


def pair(base: Scores, method: Scores, missing: Missing) -> Paired:
    """Put two arms on the same items and training seeds.

    An item is missing if either side lacks its score under any seed. `error` raises MissingScoresError, `drop` leaves
    the item out under every seed (so that each seed's figure is over the same items and no seed-by-cluster cell is
    incomplete), `zero` counts each missing score as 0. Raises ValueError for another `missing`, for an item with two
    users, and if no item is left or a side has no score.
    """
    if missing not in MISSING:
        raise ValueError(f"missing is {missing!r}; allowed are {', '.join(MISSING)}.")
    left, right = tabulate(base, missing), tabulate(method, missing)
    pairing = _pair_seeds(left.seeds, right.seeds, missing)
    warnings = pairing.warnings
    items = list(left.items) if left.items == right.items else sorted(set(left.items) | set(right.items))
    users = _merge_users(left, right, items)
    a, b = (_at(table.values, table, items, np.nan) for table in (left, right))
    a, b = a[pairing.base_rows], b[pairing.method_rows]
    missing_a, missing_b = np.isnan(a).any(axis=0), np.isnan(b).any(axis=0)
    lacking = missing_a | missing_b
    names = np.asarray(items, dtype=object)
    if lacking.any() and missing == "error":
        raise MissingScoresError(tuple(names[missing_a]), tuple(names[missing_b]))
    if missing == "zero":
        _refuse_no_score(base, method)
    if lacking.all() and missing == "drop":
        raise ValueError("no item has a score on both sides: nothing is left to compare.")
    if lacking.any():
        warnings += (_missing_caveat(names[lacking].tolist(), missing),)
    keep = ~lacking if missing == "drop" else np.ones_like(lacking)
    kept = names[keep].tolist()
    clusters, codes = _clusters(kept, None if users is None else users[keep])
    a, b = np.nan_to_num(a[:, keep], nan=0.0), np.nan_to_num(b[:, keep], nan=0.0)
    return Paired(a, b, codes, tuple(kept), clusters, pairing.seeds, warnings)


def _refuse_no_score(base: Scores, method: Scores) -> None:
    for side, scores in (("base", base), ("method", method)):
        if np.isnan(scores.value).all():
            raise ValueError(f"every score of the {side} is missing: there is nothing to test.")


def factorize(names: Sequence[Any]) -> tuple[list[Any], Codes]:
    """The sorted distinct values, and the code of each entry: its position among them."""
    if all(map(le, names, names[1:])):  # as most files are
        steps = np.fromiter(map(lt, names, names[1:]), dtype=np.intp, count=max(0, len(names) - 1))
        codes = np.concatenate((np.zeros(len(names[:1]), dtype=np.intp), steps.cumsum()))
        return [*names[:1], *compress(names[1:], steps)], codes
    distinct = sorted(set(names))
    place = {name: i for i, name in enumerate(distinct)}
    return distinct, np.fromiter(map(place.__getitem__, names), dtype=np.intp, count=len(names))


def cluster_codes(table: Table) -> Codes:
    """The cluster of each item of the table, (items,)."""
    return _clusters(table.items, table.users)[1]


def _refuse_duplicates(scores: Scores, cell: Codes) -> None:
    samples = np.zeros_like(cell)
    if scores.sample is not None and (scores.sample != scores.sample[0]).any():
        samples = factorize([str(s) for s in scores.sample])[1]
    key = cell * (int(samples.max()) + 1) + samples
    order = np.argsort(key, kind="stable")
    twice = np.flatnonzero(key[order][1:] == key[order][:-1])
    if twice.size:
        name = scores.item[order[twice[0]]]
        raise ValueError(f"item {str(name)!r} has two rows of the same training seed and sample; keep one of them.")


def _users(scores: Scores, items: Sequence[str], column: Codes) -> NDArray[Any] | None:
    """The user of each item; `column` has the item of each row. Raises ValueError for an item with two users."""
    if scores.cluster is None:
        return None
    owners = np.asarray([*map(str, scores.cluster)], dtype=object)
    users = np.empty(len(items), dtype=object)
    users[column[::-1]] = owners[::-1]  # of the first row with the item
    wrong = np.flatnonzero(users[column] != owners)
    if wrong.size:
        item = column[wrong[0]]
        raise ValueError(f"item {items[item]!r} has two users: {users[item]!r} and {owners[wrong[0]]!r}.")
    return users


def _merge_users(base: Table, method: Table, items: Sequence[str]) -> NDArray[Any] | None:
    """The user of each of the items, None for one without; None if no side has users.

    Raises ValueError for an item that has another user on the other side.
    """
    found = [_at(table.users, table, items, None) for table in (base, method) if table.users is not None]
    if len(found) < 2:
        return found[0] if found else None
    first, second = found
    merged = first.copy()
    for n in np.flatnonzero(first != second).tolist():
        if None not in (first[n], second[n]):
            raise ValueError(
                f"item {items[n]!r} belongs to user {first[n]!r} in the base and {second[n]!r} in the method."
            )
        merged[n] = second[n] if first[n] is None else first[n]
    return merged


def _clusters(items: Sequence[str], users: NDArray[Any] | None) -> tuple[tuple[str, ...], Codes]:
    """The names of the clusters, and the cluster of each item."""
    if users is None:
        return tuple(items), np.arange(len(items), dtype=np.intp)
    if None not in users:
        names, codes = factorize(users.tolist())
        return tuple(names), codes
    keys = [("item", item) if user is None else ("user", user) for item, user in zip(items, users, strict=True)]
    distinct, codes = factorize(keys)
    return tuple(name for _, name in distinct), codes


def _at(columns: NDArray[Any], table: Table, items: Sequence[str], fill: float | None) -> NDArray[Any]:
    """The table's columns (..., items) at the places of these items, which include its own; others are `fill`."""
    if len(table.items) == len(items):
        return columns
    place = {item: i for i, item in enumerate(items)}
    found = np.full((*columns.shape[:-1], len(items)), fill, dtype=columns.dtype)
    found[..., [place[item] for item in table.items]] = columns
    return found


@dataclass(frozen=True, slots=True)
class _SeedPairing:
    """The pairs of rows of two tables, with the training seed of each pair."""

    seeds: tuple[int, ...]
    base_rows: list[int]
    method_rows: list[int]
    warnings: tuple[Caveat, ...] = ()


def _pair_seeds(base: tuple[int, ...], method: tuple[int, ...], missing: Missing) -> _SeedPairing:
    """Pair by training seed; an untrained side, or one with a single seed, is paired with every seed of the other."""
    warnings = tuple(
        Caveat("single_checkpoint", f"the {side} has one training seed: conditional on this checkpoint")
        for side, seeds in (("base", base), ("method", method))
        if len(seeds) == 1
    )
    if len(base) <= 1 or len(method) <= 1:
        count = max(1, len(base), len(method))
        left = list(range(count)) if len(base) > 1 else [0] * count
        right = list(range(count)) if len(method) > 1 else [0] * count
        return _SeedPairing(method if len(method) >= len(base) else base, left, right, warnings)
    shared = tuple(sorted(set(base) & set(method)))
    alone = sorted(set(base) ^ set(method))
    if alone and (missing != "drop" or not shared):
        raise ValueError(
            f"training seeds {alone} are on one side only (base {list(base)}, method {list(method)}). "
            "Trained arms are paired by seed: score the missing ones, or leave them out (missing: drop)."
        )
    if alone:
        warnings += (Caveat("dropped_seeds", f"training seeds {alone} left out: on one side only"),)
    if len(shared) == 1:
        warnings += (Caveat("single_checkpoint", "one shared training seed: conditional on this checkpoint"),)
    return _SeedPairing(shared, [base.index(s) for s in shared], [method.index(s) for s in shared], warnings)


def _missing_caveat(names: list[str], missing: Missing) -> Caveat:
    if missing == "drop":
        return Caveat("dropped_items", f"left out for a missing score: {name_items(names, limit=20)}")
    return Caveat("missing_as_zero", f"missing scores counted as 0: {name_items(names, limit=20)}")
