"""Decides whether two score files may be compared: what differs is refused, or noted."""

from __future__ import annotations

import numpy as np

from mipo_bench.harness.errors import NotComparableError, UserError
from mipo_bench.reports.logs.record import PROMPTS, ScoreFile
from mipo_bench.reports.logs.rows import show
from mipo_bench.reports.statistics.records import name_items
from mipo_bench.reports.stats import Caveat


def refuse_other_scores(base: ScoreFile, method: ScoreFile) -> None:
    """Raise UserError for another metric, direction, task, judge, user or input, or if no item is on both sides."""
    _refuse_other_metric(base, method)
    _refuse_other_direction(base, method)
    for name, value in base.header.alike.items():
        other = method.header.alike.get(name, value)
        if value != other:
            raise NotComparableError(
                f"{base.path} and {method.path} are not comparable: the {name} is {show(value)} in the first and "
                f"{show(other)} in the second. Score both sides in the same way."
            )
    _refuse_nothing_shared(base, method)
    _refuse_other_users(base, method)
    _refuse_other_inputs(base, method)


def differences(base: ScoreFile, method: ScoreFile) -> tuple[Caveat, ...]:
    """The notes of both files, and what differs between them without a reason to refuse the comparison."""
    own = [Caveat(note.code, f"{file.path}: {note.message}") for file in (base, method) for note in file.header.notes]
    told = base.header.told
    other = [name for name, value in told.items() if _differs(name, value, method.header.told.get(name, value))]
    for name in other:
        values = (show(told[name]), show(method.header.told[name]))
        seen = f": {values[0]} in the base and {values[1]} in the method" if max(map(len, values)) < 30 else ""
        own.append(
            Caveat(f"other_{name.replace(' ', '_')}", f"the {name} differ{'' if _is_plural(name) else 's'}{seen}")
        )
    return tuple(dict.fromkeys(own))


def _differs(name: str, base: str, method: str) -> bool:
    """Whether these are different. A side with fewer documents (`limit`) has some of the other's prompts."""
    if name.split(maxsplit=1)[0] != PROMPTS:
        return base != method
    ours, theirs = set(base.split()), set(method.split())
    return not (ours <= theirs or theirs <= ours)


def _is_plural(name: str) -> bool:
    return name.split(maxsplit=1)[0].endswith("s")


def _refuse_other_metric(base: ScoreFile, method: ScoreFile) -> None:
    for field, in_base, in_method in (
        ("metric", base.header.metric, method.header.metric),
        ("filter", base.header.filter, method.header.filter),
    ):
        if in_base != in_method and None not in (in_base, in_method):
            raise UserError(
                f"{base.path} has the {field} {in_base!r}, {method.path} has {in_method!r}: compare "
                f"like with like (choose with --{field})."
            )


def _refuse_other_direction(base: ScoreFile, method: ScoreFile) -> None:
    if base.header.turned != method.header.turned:
        turned, other = (base, method) if base.header.turned else (method, base)
        raise NotComparableError(
            f"lower is better for {turned.header.metric} in {turned.path}, and {other.path} does not say so. Keep the "
            "samples of both in lm-eval's output folders, whose results say which way is better."
        )


def _refuse_nothing_shared(base: ScoreFile, method: ScoreFile) -> None:
    if set(base.scores.item).isdisjoint(method.scores.item):
        mine, theirs = (tuple(dict.fromkeys(file.scores.item)) for file in (base, method))
        raise NotComparableError(
            f"{base.path} and {method.path} have no item in common: {name_items(mine)} in the first, "
            f"{name_items(theirs)} in the second."
        )


def _refuse_other_users(base: ScoreFile, method: ScoreFile) -> None:
    if base.scores.cluster is None or method.scores.cluster is None:
        return
    if np.array_equal(base.scores.item, method.scores.item) and np.array_equal(
        base.scores.cluster, method.scores.cluster
    ):
        return
    owner = dict(zip(base.scores.item, base.scores.cluster, strict=True))
    for item, user in zip(method.scores.item, method.scores.cluster, strict=True):
        if owner.get(item, user) != user:
            raise UserError(
                f"{method.where(item)}: item {item!r} has {method.header.user_name} {user!r}, but {owner[item]!r} in "
                f"{base.where(item)}. An item belongs to the same user on both sides."
            )


def _refuse_other_inputs(base: ScoreFile, method: ScoreFile) -> None:
    """Refuse an item that has another input or target on the other side, by the fingerprints of the rows."""
    if base.inputs is None or method.inputs is None or base.header.input_name != method.header.input_name:
        return
    known = dict(zip(base.scores.item, base.inputs, strict=True))
    rows = zip(method.scores.item, method.inputs, strict=True)
    changed = {item: text for item, text in rows if text and known.get(item, "") not in ("", text)}
    if changed:
        item, text = next(iter(changed.items()))
        name = method.header.input_name
        raise NotComparableError(
            f"{method.where(item)}: {method.header.item_name} {item!r} has the {name} {text[:12]!r}, but "
            f"{known[item][:12]!r} in {base.where(item)}. It has changed on {len(changed)} of {len(known)} items, so "
            "their scores are not comparable: score both sides with one version of the task."
        )
