"""From a metric of lm-eval to a figure from 0 to 1 for each document.

lm-eval reduces the values of a metric over all documents with an aggregation. Where that is a mean, the value of a
document is its figure. Perplexities, which have no upper bound, become probabilities. BLEU and chrF are computed of
each document by itself. Aggregations that no single document has, such as a macro F1, are refused.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Aggregation = Callable[[Sequence[Any]], float]
Rank = Literal[0, 1, 2, 3]
"""How well a figure serves as the score: a mean that is better when higher, a probability, one that is better when
lower, a corpus metric of single documents."""


@dataclass(frozen=True, slots=True)
class Figure:
    """How a metric becomes a figure: its label in reports, and the function of lm-eval's value for one document."""

    label: str
    of: Callable[[Any], float]
    rank: Rank = 0

    @property
    def lower_is_better(self) -> bool:
        """Whether 0 is the best figure."""
        return self.rank == 2


def figure_of(metric: str, aggregation: Aggregation, example: Any, *, higher_is_better: bool) -> Figure | str:
    """The figure of a metric, or the reason why it has none.

    `example` is the value for the right answer to a document, None if the metric gives none for it.
    """
    from lm_eval.api import metrics

    if aggregation is metrics.perplexity:
        return Figure(f"1/{metric}", lambda logprob: math.exp(min(logprob, 0)), 1)
    if aggregation in (metrics.weighted_perplexity, metrics.bits_per_byte):
        return Figure(f"{'2^-' if aggregation is metrics.bits_per_byte else '1/'}{metric}", _per_unit, 1)
    if aggregation is metrics.brier_score:
        return Figure(f"{metric}/2", lambda value: float(aggregation([value])) / 2, 2)
    if aggregation in (metrics.bleu, metrics.chrf, metrics.chrfpp):
        return Figure(f"{metric}/100 of single documents", lambda value: float(aggregation([value])) / 100, 3)
    if not is_mean(aggregation):
        return "is defined only for the whole corpus"
    return _of_mean(metric, example, higher_is_better=higher_is_better)


def _of_mean(metric: str, example: Any, *, higher_is_better: bool) -> Figure | str:
    value = 0.0 if example is None else number(example)
    if 0 <= value <= 1:
        return Figure(metric, number, 0 if higher_is_better else 2)
    if value == 100 and higher_is_better:
        return Figure(f"{metric}/100", lambda percent: number(percent) / 100)
    found = "no number" if math.isnan(value) else f"{value:g}, outside 0 to 1,"
    return f"is {found} for the target of the first document"


def is_mean(aggregation: Aggregation) -> bool:
    """Whether an aggregation is the mean of its values: lm-eval's own, or a function that behaves as one."""
    from lm_eval.api import metrics

    if aggregation in (metrics.mean, metrics.nanmean):
        return True
    rng = random.Random(0)
    for size in (1, 2, 3, 7):
        for values in ([rng.random() for _ in range(size)], [float(rng.randrange(2)) for _ in range(size)]):
            try:
                found = float(aggregation(list(values)))
            except Exception:  # noqa: BLE001 - a function of other values may raise anything: it is no mean of numbers
                return False
            if not math.isclose(found, sum(values) / size, abs_tol=1e-9):
                return False
    return True


def number(value: Any) -> float:
    """A figure of lm-eval; NaN if it is no number, such as the texts that a corpus metric collects."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _per_unit(value: tuple[float, int]) -> float:
    """The geometric mean of the probabilities of a text's words or bytes, of (log-probability, number of units)."""
    logprob, units = value
    return math.exp(min(logprob, 0) / max(units, 1))
