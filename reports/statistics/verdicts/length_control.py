"""Length-controlled win rate: the win rate that a judge would give if responses had equal lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from mipo_bench.reports.statistics.align import factorize
from mipo_bench.reports.statistics.parametric import t_quantile
from mipo_bench.reports.statistics.records import Caveat, Floats

_FAR = 12.0
"""A coefficient beyond this many logits means that lengths separate wins from losses: the fit is not finite."""


@dataclass(frozen=True, slots=True)
class LengthControlled:
    """`win_rate` is at equal lengths; `slope` is the coefficient of the scaled length difference, in logits."""

    win_rate: float | None
    ci_low: float | None
    ci_high: float | None
    slope: float | None
    warnings: tuple[Caveat, ...] = ()


def length_controlled(
    wins: Sequence[float],
    difference: Sequence[float],
    cluster: Sequence[str],
    weights: Sequence[float] | None = None,
    alpha: float = 0.05,
) -> LengthControlled:
    """Logistic regression of a win on the length difference, evaluated at a difference of zero.

    The model is that of length-controlled AlpacaEval (Dubois et al. 2024, arXiv 2404.04475) without its term for the
    difficulty of an instruction, which needs many models:

        P(win) = sigmoid(a + b z),    z = tanh(d / sd(d)),    d = length of the method's response - the reference's.

    `wins` holds one number in [0, 1] per item: ties and split orders count in part (quasi-likelihood of Papke and
    Wooldridge 1996). `difference` is d, `weights` are the weights of items (1 if None). The length-controlled win rate
    is sigmoid(a). Its interval is the sigmoid of a's interval, with the cluster-robust (CR1) standard error and t with
    C - 1 degrees of freedom; fewer than three clusters give none. The figures are None with a caveat if a is not
    finite: one side always wins, or lengths separate wins from losses. Raises ValueError for sequences of unequal
    length.
    """
    w, d = np.asarray(wins, dtype=np.float64), np.asarray(difference, dtype=np.float64)
    share = np.ones_like(w) if weights is None else np.asarray(weights, dtype=np.float64)
    if not len(w) or not len(w) == len(d) == len(cluster) == len(share):
        raise ValueError("wins, length differences, clusters and weights need one entry per item.")
    if np.ptp(w) == 0 and w[0] in (0.0, 1.0):
        return _undefined("one side wins every time")
    sd = float(np.std(d))
    x = np.column_stack([np.ones_like(d), np.tanh(d / sd)] if sd > 0 else [np.ones_like(d)])
    if sd > 0 and np.ptp(x[:, 1]) < 1e-9:
        return _undefined("all length differences are the same")
    start = np.zeros(x.shape[1])
    found = scipy.optimize.minimize(_loss, start, (x, w, share), jac=_gradient, method="BFGS", options={"gtol": 1e-9})
    if np.abs(found.x).max() > _FAR:
        return _undefined("wins and lengths are separated")
    se, clusters = _robust(found.x, x, w, share, cluster)
    half = t_quantile(alpha / 2, clusters - 1) * se if clusters > 2 and se > 1e-12 else None
    low, high = (None, None) if half is None else (float(scipy.special.expit(found.x[0] + s * half)) for s in (-1, 1))
    return LengthControlled(float(scipy.special.expit(found.x[0])), low, high, float(found.x[1]) if sd > 0 else None)


def _undefined(reason: str) -> LengthControlled:
    caveat = Caveat("no_length_control", f"no length-controlled win rate: {reason}")
    return LengthControlled(None, None, None, None, (caveat,))


def _loss(beta: Floats, x: Floats, w: Floats, share: Floats) -> float:
    eta = x @ beta
    return float((share * (np.logaddexp(0, eta) - w * eta)).sum() / share.sum())


def _gradient(beta: Floats, x: Floats, w: Floats, share: Floats) -> Floats:
    return np.asarray((share * (scipy.special.expit(x @ beta) - w)) @ x / share.sum())


def _robust(beta: Floats, x: Floats, w: Floats, share: Floats, cluster: Sequence[str]) -> tuple[float, int]:
    """Cluster-robust standard error of the intercept, and the number of clusters."""
    p = scipy.special.expit(x @ beta)
    bread = np.linalg.inv((x * (share * p * (1 - p))[:, None]).T @ x)
    users, place = factorize(list(cluster))
    scores = x * (share * (w - p))[:, None]
    sums = np.stack([np.bincount(place, weights=column) for column in scores.T], axis=1)
    c = len(users)
    meat = sums.T @ sums * (c / (c - 1) if c > 1 else 1.0)
    return float(np.sqrt((bread @ meat @ bread)[0, 0])), c
