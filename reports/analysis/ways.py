"""How the answers of a method were found, and how far two methods differ in it.

The measure is the total variation distance between the shares of the ways: half the sum of their absolute differences,
the smallest share of responses that must be found in another way for both to be alike.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mipo_bench.reports.records.report import ArmRecord

_ERROR_RATE = 0.05


@dataclass(frozen=True, slots=True)
class Findings:
    """How the answers of a method were found, over all its training seeds.

    `items` is the number of items in `ways`. The other counts are of `responses`, at least 1.
    """

    ways: Mapping[str, int]
    items: int
    responses: int
    invented_turns: int
    thoughts: int
    thoughts_cut: int

    def share(self, way: str) -> float:
        """Share of a way among the responses of a task that reads answers; 0 for another task."""
        total = sum(self.ways.values())
        return self.ways.get(way, 0) / total if total else 0.0


def findings(arms: Sequence[ArmRecord]) -> Findings | None:
    """The findings of a method from its arms, one for each training seed; None for a report that has none."""
    readings = [arm.reading for arm in arms if arm.reading]
    if not readings:
        return None
    return Findings(
        ways=sum((Counter(r.ways) for r in readings), Counter()),
        items=max(sum(r.ways.values()) for r in readings),
        responses=max(1, sum(len(arm.scores) for arm in arms if arm.reading)),
        invented_turns=sum(r.invented_turns for r in readings),
        thoughts=sum(r.thoughts for r in readings),
        thoughts_cut=sum(len(r.thoughts_cut) for r in readings),
    )


def distance(a: Findings, b: Findings) -> float:
    """Total variation distance between the ways of two methods, in [0, 1]."""
    return sum(abs(a.share(way) - b.share(way)) for way in {*a.ways, *b.ways}) / 2


def distance_by_chance(a: Findings, b: Findings) -> float:
    """The distance that two methods with equal shares exceed in at most 5% of all cases; above 1 for a few items.

    It is a bound of the expected distance, sum over ways of sqrt(p (1 - p) (1/n + 1/m)) / 2 with the pooled shares p,
    and McDiarmid's bound of what is beyond it (1989, On the method of bounded differences). `n` and `m` are items, not
    responses, because the responses of several training seeds to one item are alike. 1 where a method has none.
    """
    if not (a.items and b.items):
        return 1.0
    each = 1 / a.items + 1 / b.items
    pooled = [(a.share(way) + b.share(way)) / 2 for way in {*a.ways, *b.ways}]
    expected = sum(math.sqrt(p * (1 - p) * each) for p in pooled) / 2
    return expected + math.sqrt(each * math.log(1 / _ERROR_RATE) / 2)
