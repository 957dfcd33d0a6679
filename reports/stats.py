"""Paired comparison of two arms, and the score of one, on plain arrays.

The unit of resampling is the cluster (the user where there are users, else the item). Nothing here prints; an
undefined figure is None and a caveat says why.
"""

from __future__ import annotations

from mipo_bench.reports.statistics.compare import compare, summarize
from mipo_bench.reports.statistics.multiple_testing import benjamini_hochberg, holm
from mipo_bench.reports.statistics.records import (
    MISSING,
    WEIGHTS,
    Caveat,
    Comparison,
    Estimate,
    Missing,
    MissingScoresError,
    Scores,
    Weight,
)
from mipo_bench.reports.statistics.win_rate import WinRate, win_rate

__all__ = [
    "MISSING",
    "WEIGHTS",
    "Caveat",
    "Comparison",
    "Estimate",
    "Missing",
    "MissingScoresError",
    "Scores",
    "Weight",
    "WinRate",
    "benjamini_hochberg",
    "compare",
    "holm",
    "summarize",
    "win_rate",
]
