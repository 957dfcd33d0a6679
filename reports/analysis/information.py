"""Estimates mutual information with intervals from pointwise values, and compares its change with the score's.

With p the probability of a response under its own context and m the mean of its probabilities under K others, the
pointwise value of a response is log p - log m. Two estimates of the mutual information follow (see
`harness.diagnostics.mutual_information` for sources and conditions): the mean of the pointwise values is an upper
bound, and the mean of log p - log((p + K m) / (K + 1)) is InfoNCE, a lower bound that cannot exceed log(K + 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import scipy

from mipo_bench.reports.records.base import CaveatRecord
from mipo_bench.reports.records.information import (
    InformationChangeRecord,
    InformationEstimateRecord,
    MeasuredRecord,
    Weights,
)
from mipo_bench.reports.statistics.records import UNLIMITED, Floats, Limits
from mipo_bench.reports.stats import Average, Caveat, Comparison, Estimate, Scores, compare, summarize

NEAR_CEILING = 0.9
"""Share of log(K + 1) above which InfoNCE shows little more than that the information is at least as large."""
FEW_CHANGES = 3
"""Items needed for a rank correlation."""
_Values = Mapping[int | None, Sequence[float] | Floats]
"""A value for each item, by training seed; None is an untrained arm."""


class InformationBlock:
    """The pointwise values of one task; computes their estimates and changes."""

    def __init__(
        self,
        contexts: Sequence[int],
        items: Sequence[str],
        users: Sequence[str] | None,
        measured: Sequence[MeasuredRecord],
        average: Average,
        alpha: float,
    ) -> None:
        """`items` and `users` have the order of the values in `measured`."""
        self.contexts, self.items, self.users, self.measured = contexts, items, users, measured
        self.average, self.alpha = average, alpha

    def estimates(self) -> list[InformationEstimateRecord]:
        """One estimate for each method, model and number of contexts, in the order of `measured`."""
        cells = dict.fromkeys((m.method, m.weights) for m in self.measured)
        return [self._estimate(method, weights, k) for method, weights in cells for k in range(len(self.contexts))]

    def changes(self, reference: str, scores: Mapping[tuple[str, int | None], Floats]) -> list[InformationChangeRecord]:
        """One change for each method other than the reference; `scores` maps (method, training seed) to task scores."""
        methods = dict.fromkeys(m.method for m in self.measured if m.method != reference)
        return [self._change(reference, method, scores) for method in methods]

    def _group(self, method: str, weights: Weights) -> list[MeasuredRecord]:
        return [m for m in self.measured if (m.method, m.weights) == (method, weights)]

    def _column(self, values: _Values) -> Scores:
        """Scores in long format; `values` maps a training seed to one value for each item."""
        trained = None not in values
        return Scores.from_columns(
            item=[*self.items] * len(values),
            value=[float(value) for row in values.values() for value in row],
            cluster=[*self.users] * len(values) if self.users else None,
            seed=[int(seed or 0) for seed in values for _ in self.items] if trained else None,
        )

    def _pmi(self, method: str, weights: Weights, k: int) -> dict[int | None, Sequence[float]]:
        return {m.train_seed: m.pmi[k] for m in self._group(method, weights)}

    def _estimate(self, method: str, weights: Weights, k: int) -> InformationEstimateRecord:
        contexts, values = self.contexts[k], self._pmi(method, weights, k)
        ceiling = float(np.log(contexts + 1))
        mean = self._summary(values, UNLIMITED)
        nce = self._summary(
            {seed: info_nce(np.array(row), contexts) for seed, row in values.items()}, (-np.inf, ceiling)
        )
        caveats = [*mean.warnings, *_near_ceiling(nce.mean, ceiling)]
        return InformationEstimateRecord(
            method=method,
            weights=weights,
            contexts=contexts,
            mean=mean.mean,
            ci_low=mean.ci_low,
            ci_high=mean.ci_high,
            nce=nce.mean,
            nce_low=nce.ci_low,
            nce_high=nce.ci_high,
            ceiling=ceiling,
            n_items=mean.n_items,
            n_clusters=mean.n_clusters,
            n_seeds=mean.n_seeds,
            warnings=_records(caveats),
        )

    def _summary(self, values: _Values, limits: Limits) -> Estimate:
        """Mean and interval. Values that are all 0 or 1 are nats and not a 0/1 score: no Wilson interval."""
        estimate = summarize(self._column(values), weight=self.average, alpha=self.alpha, limits=limits)
        if estimate.method != "wilson":
            return estimate
        flat = Caveat("zero_variance", "every response has the same information: no interval")
        return replace(estimate, ci_low=None, ci_high=None, method="none", warnings=(flat,))

    def _compare(self, base: _Values, method: _Values, limits: Limits | None = UNLIMITED) -> Comparison:
        return compare(self._column(base), self._column(method), weight=self.average, alpha=self.alpha, limits=limits)

    def _change(
        self, reference: str, method: str, scores: Mapping[tuple[str, int | None], Floats]
    ) -> InformationChangeRecord:
        before = self._pmi(reference, "own", -1)
        own = self._compare(before, self._pmi(method, "own", -1))
        text = self._compare(before, self._pmi(method, "base", -1))
        seeds = [m.train_seed for m in self._group(method, "own")]
        score = self._compare({None: scores[reference, None]}, {seed: scores[method, seed] for seed in seeds}, None)
        gained = np.mean(list(self._pmi(method, "own", -1).values()), axis=0) - np.array(before[None])
        better = np.mean([scores[method, seed] for seed in seeds], axis=0) - scores[reference, None]
        return InformationChangeRecord(
            method=method,
            contexts=self.contexts[-1],
            delta=own.delta,
            ci_low=own.ci_low,
            ci_high=own.ci_high,
            text_delta=text.delta,
            text_low=text.ci_low,
            text_high=text.ci_high,
            score_delta=score.delta,
            score_low=score.ci_low,
            score_high=score.ci_high,
            rank_correlation=rank_correlation(gained, better),
            n_items=own.n_items,
            n_clusters=own.n_clusters,
            n_seeds=own.n_seeds,
            warnings=_records(c for c in own.warnings if c.code != "relative_undefined"),
        )


def info_nce(pmi: Floats, contexts: int) -> Floats:
    """Log p - log((p + K m) / (K + 1)) from log p - log m, element by element, for K `contexts`; in nats."""
    return np.asarray(np.log(contexts + 1) - np.logaddexp(0.0, np.log(contexts) - pmi))


def rank_correlation(a: Floats, b: Floats) -> float | None:
    """Spearman's rho, with ties; None if one side does not vary or for fewer than three items."""
    if len(a) < FEW_CHANGES or not np.ptp(a) or not np.ptp(b):
        return None
    return float(scipy.stats.spearmanr(a, b).statistic)


def _near_ceiling(nce: float, ceiling: float) -> list[Caveat]:
    if nce < NEAR_CEILING * ceiling:
        return []
    text = f"InfoNCE is near its ceiling of {ceiling:.2f} nats: the information may be larger; take more contexts"
    return [Caveat("ceiling", text)]


def _records(caveats: Iterable[Caveat]) -> list[CaveatRecord]:
    return [CaveatRecord(code=c.code, message=c.message) for c in caveats]
