"""Says in words how often a comparison had been tested before on the same items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mipo_bench.reports.numbers import p_text
from mipo_bench.reports.records.looks import LooksRecord

_ORDINALS = ("second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_NAMED = 5
"""The latest looks that are named; `report.json` names all."""


def look_lines(looks: Sequence[LooksRecord]) -> Iterable[str]:
    """One line for each comparison with earlier looks."""
    for look in looks:
        count = len(look.earlier)
        which = f"{_ORDINALS[count - 1]} look" if count <= len(_ORDINALS) else f"look {count + 1}"
        named = ", ".join(f"run {past.run} (p {p_text(past.p_value)})" for past in look.earlier[-_NAMED:])
        more = f"{count - _NAMED} more and " if count > _NAMED else ""
        yield (
            f"{which} at these items: {look.task} {look.method} against {look.base} was tested before, with other"
            f" scores, in {more}{named}; the p-values do not count earlier looks"
        )
