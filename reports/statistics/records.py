"""Records of the statistics: scores are the input, estimates and comparisons the output. Undefined figures are None."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Average = Literal["micro", "macro"]
Missing = Literal["error", "drop", "zero"]
WEIGHTS: tuple[Average, ...] = ("micro", "macro")
MISSING: tuple[Missing, ...] = ("error", "drop", "zero")
Limits = tuple[float, float]
SHARE: Limits = (0.0, 1.0)
UNLIMITED: Limits = (-1e300, 1e300)
"""Ranges of a score: a share, and a figure such as a log-probability, whose interval only has to stay finite."""
MCNEMAR = "mcnemar-exact"
SHARE_WEIGHTED = "share-weighted-t"
"""The name of the test of two or more training seeds."""


@dataclass(frozen=True, slots=True)
class Caveat:
    """A warning about a figure; renderers print it as a numbered footnote."""

    code: str
    message: str


class MissingScoresError(ValueError):
    """Raised for items without a score on one side; `base` and `method` name the items that each side lacks."""

    def __init__(self, base: tuple[str, ...], method: tuple[str, ...]) -> None:
        parts = [
            f"no score in the {side} for {name_items(lacking)}"
            for side, lacking in (("base", base), ("method", method))
            if lacking
        ]
        super().__init__(
            "; ".join(parts) + ". Leave such items out (missing: drop) or count them as 0 (missing: zero)."
        )
        self.base = base
        self.method = method


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of one arm in long format: equal-length arrays, one row per (item, training seed, sample).

    `value` is the score, NaN if it is missing. `cluster` is the user of the row; None makes each item its own cluster.
    `seed` is the training seed; None for an untrained arm. `sample` distinguishes several samples of one prompt, which
    are averaged inside the prompt before anything else.
    """

    item: NDArray[Any]
    value: Floats
    cluster: NDArray[Any] | None = None
    seed: NDArray[np.int64] | None = None
    sample: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        """Raise ValueError if columns differ in length, no row is given or a score is infinite."""
        for name in ("value", "cluster", "seed", "sample"):
            column = getattr(self, name)
            if column is not None and column.shape != (len(self.item),):
                raise ValueError(f"{name} has shape {column.shape}, one entry per row is {len(self.item)}.")
        if not len(self.item):
            raise ValueError("no scores: at least one row is needed.")
        if np.isinf(self.value).any():
            where = self.item[int(np.argmax(np.isinf(self.value)))]
            raise ValueError(f"the score of item {where!r} is infinite; scores are finite, NaN means missing.")

    @classmethod
    def from_columns(
        cls,
        item: Sequence[str],
        value: Sequence[float],
        cluster: Sequence[str] | None = None,
        seed: Sequence[int] | None = None,
        sample: Sequence[int] | None = None,
    ) -> Scores:
        """Build from plain sequences of equal length."""
        return cls(
            item=np.asarray(item, dtype=object),
            value=np.asarray(value, dtype=np.float64),
            cluster=None if cluster is None else np.asarray(cluster, dtype=object),
            seed=None if seed is None else np.asarray(seed, dtype=np.int64),
            sample=None if sample is None else np.asarray(sample, dtype=object),
        )


@dataclass(frozen=True, slots=True)
class Inference:
    """The result of one test of a mean, or of one interval.

    `ci_low` and `ci_high` are on the scale of the scores. `se` is the standard error, `df` its degrees of freedom if it
    has any; for `share-weighted-t`, those of Student's t test with the same critical value. `min_attainable_p` is the
    smallest p-value that this amount of data can give. `p_noninferiority` is one-sided, None without a margin.
    """

    test: str
    p_value: float | None
    ci_low: float | None
    ci_high: float | None
    se: float | None
    df: float | None = None
    p_midp: float | None = None
    p_noninferiority: float | None = None
    min_attainable_p: float | None = None
    warnings: tuple[Caveat, ...] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """The score of one arm with its 1 - alpha interval.

    `method` names the interval: `wilson`, `cluster-t`, `share-weighted-t` or `none`. `per_seed` holds
    every training seed's own score and `seed_sd` their standard deviation.
    """

    mean: float
    ci_low: float | None
    ci_high: float | None
    method: str
    n_items: int
    n_clusters: int
    n_seeds: int
    seed_sd: float | None
    per_seed: tuple[tuple[int, float], ...]
    average: Average
    alpha: float
    warnings: tuple[Caveat, ...] = ()

    @property
    def weight(self) -> Average:
        """The earlier name of `average`, for code that was written for version 0.1."""
        return self.average


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired comparison of a method with a base on the same items; delta = method - base.

    `relative_delta` is delta / base_mean. The interval has level 1 - alpha. `mde` is the smallest true difference found
    with 80% power at this standard error and, with several training seeds, at `df`, which for these is that of
    Student's t test with the same critical value. `effect_size` is d_z, the mean difference over the standard deviation
    of the differences; `p_better` is P(better) + P(tie) / 2; both over items (micro) or cluster means (macro).
    `only_base` and `only_method` count the items that only one side solves (0/1 scores, one seed). `design_effect` is
    the variance of delta over the variance with independent items. `per_seed` holds every training seed's own delta.
    `noninferior` says that the lower end of the 1 - 2 alpha interval is above -margin.
    """

    delta: float
    relative_delta: float | None
    base_mean: float
    method_mean: float
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    p_midp: float | None
    test: str
    n_items: int
    n_clusters: int
    n_seeds: int
    se: float | None
    df: float | None
    mde: float | None
    effect_size: float | None
    p_better: float | None
    only_base: int | None
    only_method: int | None
    design_effect: float | None
    seed_sd: float | None
    per_seed: tuple[tuple[int, float], ...]
    average: Average
    alpha: float
    margin: float | None
    noninferior: bool | None
    p_noninferiority: float | None
    min_attainable_p: float | None
    warnings: tuple[Caveat, ...] = ()

    @property
    def weight(self) -> Average:
        """The earlier name of `average`, for code that was written for version 0.1."""
        return self.average


def name_items(names: Sequence[str], limit: int = 5) -> str:
    """The number of items and the first `limit` names, in words."""
    shown = ", ".join(repr(name) for name in names[:limit])
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{len(names)} item{'s' * (len(names) != 1)} ({shown}{more})"
