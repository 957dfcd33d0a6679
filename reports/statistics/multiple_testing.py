"""Correction for many comparisons. An untestable comparison (p is None) counts in the family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mipo_bench.reports.statistics.records import Floats


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjusted p-values (Holm 1979): family-wise error over the primary family."""
    known, values = _sorted(p)
    steps = len(p) - np.arange(len(values))
    return _restore(len(p), known, np.maximum.accumulate(values * steps))


def benjamini_hochberg(p: Sequence[float | None]) -> list[float | None]:
    """Benjamini-Hochberg step-up adjusted p-values (1995): false discovery rate of the exploratory rest."""
    known, values = _sorted(p)
    ratios = values * len(p) / (1 + np.arange(len(values)))
    return _restore(len(p), known, np.minimum.accumulate(ratios[::-1])[::-1])


def _sorted(p: Sequence[float | None]) -> tuple[list[int], Floats]:
    """Places of the known p-values in ascending order of p, and these values."""
    known = [(value, place) for place, value in enumerate(p) if value is not None]
    if any(not 0 <= value <= 1 for value, _ in known):
        raise ValueError(f"p-values must lie in [0, 1] or be None: {list(p)}")
    known.sort()
    return [place for _, place in known], np.asarray([value for value, _ in known])


def _restore(size: int, places: list[int], adjusted: Floats) -> list[float | None]:
    result: list[float | None] = [None] * size
    for place, value in zip(places, adjusted, strict=True):
        result[place] = min(1.0, float(value))
    return result
