"""Computes figures from verdicts: the judge's consistency, and each judged method's wins and length effect.

`harness.judging` calls it when a report is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mipo_bench.reports.records.base import CaveatRecord
from mipo_bench.reports.records.judges import ConsistencyRecord, JudgedArmRecord
from mipo_bench.reports.records.report import ArmRecord, TaskRecord
from mipo_bench.reports.statistics.parametric import sign_test
from mipo_bench.reports.statistics.records import Average, Caveat
from mipo_bench.reports.statistics.verdicts.agreement import agreement
from mipo_bench.reports.statistics.verdicts.length_control import LengthControlled, length_controlled
from mipo_bench.reports.statistics.verdicts.win_rate import win_rate


@dataclass(frozen=True, slots=True)
class BothOrders:
    """The verdicts on one item from the judged arm's side, shown first and shown second. None: unreadable."""

    cluster: str
    first: float | None
    second: float | None


@dataclass(frozen=True, slots=True)
class ArmVerdicts:
    """The verdicts on one method: a pair for each item and training seed, by the order of presentation.

    They are from the method's side, shown first and shown second; None is an unreadable verdict. `asked` counts the
    questions to the judge, `undecided` its answers without a verdict.
    """

    by_order: Sequence[tuple[float | None, float | None]]
    undecided: int = 0
    asked: int = 0

    @property
    def are_missing(self) -> bool:
        """Whether the judge was asked and gave no verdict at all: the scores are ties of no meaning."""
        return self.asked > 0 and self.undecided == self.asked


def consistency(orders: Sequence[BothOrders], retests: Sequence[bool], alpha: float) -> ConsistencyRecord:
    """See `ConsistencyRecord`. `retests` holds for each repeated question whether the verdict was the same."""
    read = [(o.cluster, o.first, o.second) for o in orders if o.first is not None and o.second is not None]
    slots = [s for o in orders for s in _slots(o)]
    lean = [sum(_slots(o)) for o in orders]
    to_first, to_second = sum(n > 0 for n in lean), sum(n < 0 for n in lean)
    found = agreement([r[1] for r in read], [r[2] for r in read], [r[0] for r in read], alpha) if read else None
    return ConsistencyRecord(
        n_items=len(orders),
        n_clusters=len({o.cluster for o in orders}),
        consistent=found.agreed if found else None,
        first_share=sum(s > 0 for s in slots) / len(slots) if slots else None,
        first_p=sign_test(to_first, to_second) if to_first + to_second else None,
        kappa=found.kappa if found else None,
        kappa_low=found.ci_low if found else None,
        kappa_high=found.ci_high if found else None,
        n_retest=len(retests),
        retest_agreement=sum(retests) / len(retests) if retests else None,
    )


def _slots(orders: BothOrders) -> list[int]:
    """The place that each verdict chose: +1 the first, -1 the second. Ties and unreadable verdicts are left out."""
    chosen = [orders.first, None if orders.second is None else 1 - orders.second]
    return [1 if value > 0.5 else -1 for value in chosen if value is not None and value != 0.5]


def judged_arm(
    task: TaskRecord,
    arms: Sequence[ArmRecord],
    reference: ArmRecord,
    verdicts: ArmVerdicts,
    average: Average,
    alpha: float,
) -> JudgedArmRecord:
    """The wins of one method, all its training seeds together, and its win rate at equal lengths.

    Clusters are users, else items; seeds are repeated measures inside them.
    """
    cluster = list(task.users or task.items) * len(arms)
    wins = win_rate(*_letters(verdicts), cluster, weight=average, alpha=alpha)
    scores = [value for arm in arms for value in arm.scores]
    strict = [value or 0.0 for arm in arms for value in arm.parts.get("strict", arm.scores)]
    lengths = [n for arm in arms for n in arm.n_tokens]
    against = list(reference.n_tokens) * len(arms)
    share = _weights(cluster, average)
    if verdicts.are_missing:
        none = Caveat("untestable", f"the judge gave no verdict on {arms[0].method}")
        found = LengthControlled(None, None, None, None, (none,))
    else:
        found = length_controlled(scores, np.subtract(lengths, against).tolist(), cluster, share.tolist(), alpha)
    return JudgedArmRecord(
        method=arms[0].method,
        win_rate=_bounded(wins.win_rate),
        wins=wins.wins,
        ties=wins.ties,
        losses=wins.losses,
        reversals=wins.reversals,
        strict=_bounded(np.average(strict, weights=share)),
        mean_tokens=float(np.mean(lengths)),
        reference_tokens=float(np.mean(against)),
        length_controlled=found.win_rate,
        length_low=found.ci_low,
        length_high=found.ci_high,
        length_slope=found.slope,
        undecided=verdicts.undecided,
        warnings=[CaveatRecord(code=c.code, message=c.message) for c in found.warnings],
    )


def _letters(verdicts: ArmVerdicts) -> tuple[list[str], list[str]]:
    """Both orders in the letters of `win_rate`; an unreadable verdict is a tie."""
    first, second = zip(*verdicts.by_order, strict=True)
    return [_letter(value) for value in first], [_letter(value) for value in second]


def _letter(value: float | None) -> str:
    return "T" if value is None or value == 0.5 else "W" if value > 0.5 else "L"


def _weights(cluster: Sequence[str], average: Average) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The weight of each row: 1 for micro; for macro, 1 over the number of the user's rows."""
    if average == "micro":
        return np.ones(len(cluster))
    _, place, count = np.unique(cluster, return_inverse=True, return_counts=True)
    return np.asarray(1 / count[place], dtype=np.float64)


def _bounded(value: float) -> float:
    """The value clipped to [0, 1], which rounding may have left."""
    return float(min(1.0, max(0.0, value)))
