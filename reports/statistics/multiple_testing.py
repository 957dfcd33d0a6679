"""Adjusts p-values for many comparisons. An untestable comparison (p is None) counts in the family like p = 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy

from mipo_bench.reports.statistics.records import Floats


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjusted p-values (Holm 1979): family-wise error over the primary family.

    Raises ValueError for a p-value outside of [0, 1].
    """
    values = _filled(p)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(values[order] * (len(p) - np.arange(len(p))))
    return _where_known(p, adjusted)


def benjamini_hochberg(p: Sequence[float | None]) -> list[float | None]:
    """Benjamini-Hochberg step-up adjusted p-values (1995): false discovery rate over the exploratory family.

    Raises ValueError for a p-value outside of [0, 1].
    """
    return _where_known(p, scipy.stats.false_discovery_control(_filled(p), method="bh"))


def _filled(p: Sequence[float | None]) -> Floats:
    """The p-values with 1 in place of None, which ranks last and changes no other value."""
    values = np.asarray([1.0 if value is None else value for value in p], dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values must lie in [0, 1] or be None: {list(p)}")
    return values


def _where_known(p: Sequence[float | None], adjusted: Floats) -> list[float | None]:
    return [None if raw is None else min(1.0, float(value)) for raw, value in zip(p, adjusted, strict=True)]
