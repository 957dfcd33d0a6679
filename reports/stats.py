"""The public statistics: other rooms and other packages import them from here.

Every estimate and test takes plain arrays (`Scores`) and returns a record; see the modules for estimators and sources.
"""

from mipo_bench.reports.statistics.compare import compare, summarize
from mipo_bench.reports.statistics.multiple_testing import benjamini_hochberg, holm
from mipo_bench.reports.statistics.records import (
    MISSING,
    WEIGHTS,
    Average,
    Caveat,
    Comparison,
    Estimate,
    Missing,
    MissingScoresError,
    Scores,
)
from mipo_bench.reports.statistics.sensitivity import Sensitivity, sensitivity
from mipo_bench.reports.statistics.verdicts.win_rate import WinRate, win_rate

__all__ = [
    "MISSING",
    "WEIGHTS",
    "Average",
    "Caveat",
    "Comparison",
    "Estimate",
    "Missing",
    "MissingScoresError",
    "Scores",
    "Sensitivity",
    "Weight",
    "WinRate",
    "benjamini_hochberg",
    "compare",
    "holm",
    "sensitivity",
    "summarize",
    "win_rate",
]

Weight = Average
"""Older name of `Average`, for packages that still import it."""
