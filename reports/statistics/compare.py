"""Compares two paired arms (`compare`) and estimates the score of one (`summarize`), on plain arrays.

The unit of resampling is the cluster: the user if items have users, else the item. An undefined figure is None, and a
caveat says why.
"""

from __future__ import annotations

import numpy as np

from mipo_bench.reports.statistics.align import Paired, cluster_codes, pair, tabulate
from mipo_bench.reports.statistics.choose_test import ComparisonOptions, arm_interval, discordance, run_test, within
from mipo_bench.reports.statistics.clusters import SMALLEST, ClusterSums, cluster_sums, zero_rounding_noise
from mipo_bench.reports.statistics.parametric import cr1_standard_error
from mipo_bench.reports.statistics.power import least_found, mde
from mipo_bench.reports.statistics.records import (
    MCNEMAR,
    SHARE_WEIGHTED,
    Average,
    Caveat,
    Comparison,
    Estimate,
    Floats,
    Inference,
    Limits,
    Missing,
    Scores,
)
from mipo_bench.reports.statistics.sign_flip import DRAWS


def compare(
    base: Scores,
    method: Scores,
    *,
    weight: Average = "micro",
    alpha: float = 0.05,
    margin: float | None = None,
    seed: int = 0,
    missing: Missing = "error",
    draws: int = DRAWS,
    limits: Limits | None = None,
) -> Comparison:
    """Compare a method with a base on the same items; delta = method - base.

    | data | test and interval |
    |---|---|
    | two or more training seeds | random effects of seeds crossed with clusters, share-weighted t |
    | 0/1 scores, each item its own cluster | exact McNemar, Bonett-Price |
    | else | cluster sign-flip (exact to 16 clusters, else `draws` draws from `seed`), inverted |

    An arm without training seeds, or with one, is paired with every seed of the other. `weight` is `micro`
    (items weigh equally) or `macro` (users do). `margin` is the largest loss that is accepted: the method is
    non-inferior if the lower end of the 1 - 2 alpha interval lies above -margin. `missing` is the treatment of items
    without a score (see `pair`). `limits` is the range of a score: [0, 1] by default if all scores lie there, so that
    the interval of the difference ends at -1 and 1. Raises ValueError (MissingScoresError for missing scores) for
    data that cannot be compared.
    """
    options = ComparisonOptions(weight, alpha, margin, seed, draws, limits)
    return _compare(pair(base, method, missing), options)


def summarize(
    scores: Scores, *, weight: Average = "micro", alpha: float = 0.05, limits: Limits | None = None
) -> Estimate:
    """The score of one arm with its 1 - alpha interval.

    The interval is Wilson's for 0/1 scores with each item its own cluster; seeds crossed with clusters (share-weighted
    t) for two or more training seeds; else a t interval with the CR1 standard error over clusters, df C - 1. It ends at
    the `limits` of a score, [0, 1] by default if all scores lie there. Raises ValueError if an item lacks a score.
    """
    options = ComparisonOptions(weight, alpha, limits=limits)
    table = tabulate(scores)
    missing = np.isnan(table.values).any(axis=0)
    if missing.any():
        raise ValueError(f"item {table.items[int(np.argmax(missing))]!r} lacks a score; a score is needed everywhere.")
    values = cluster_sums(table.values, cluster_codes(table), options.weight)
    inference = within(arm_interval(table.values, values, options.alpha), options.limits_of(table.values))
    warnings = inference.warnings
    if len(table.seeds) == 1:
        warnings = (
            Caveat("single_checkpoint", "one training seed: conditional on this checkpoint"),
            *warnings,
        )
    return Estimate(
        mean=values.estimate,
        ci_low=inference.ci_low,
        ci_high=inference.ci_high,
        method=inference.test,
        n_items=len(table.items),
        n_clusters=len(values.sizes),
        n_seeds=len(table.seeds),
        seed_sd=_seed_sd(values),
        per_seed=_per_seed(table.seeds, values),
        average=options.weight,
        alpha=options.alpha,
        warnings=warnings,
    )


def _compare(paired: Paired, options: ComparisonOptions) -> Comparison:
    difference = paired.difference
    clusters = cluster_sums(difference, paired.cluster, options.weight)
    counts = discordance(paired.base, paired.method)
    low, high = options.limits_of(paired.base, paired.method)
    found = within(run_test(difference, clusters, counts, options), (low - high, high - low))
    base_mean = cluster_sums(paired.base, paired.cluster, options.weight).estimate
    items = zero_rounding_noise(difference.mean(axis=0), np.abs(difference).mean(axis=0))
    units = items if options.weight == "micro" else clusters.pooled.sums[0]
    return Comparison(
        delta=clusters.estimate,
        relative_delta=clusters.estimate / base_mean if base_mean > SMALLEST else None,
        base_mean=base_mean,
        method_mean=cluster_sums(paired.method, paired.cluster, options.weight).estimate,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        p_value=found.p_value,
        p_midp=found.p_midp,
        test=found.test,
        n_items=difference.shape[1],
        n_clusters=len(clusters.sizes),
        n_seeds=len(paired.seeds),
        se=found.se,
        df=found.df,
        mde=_mde(found, len(clusters.sizes), options.alpha),
        effect_size=_standardised(units),
        p_better=float(np.mean((units > 0) + 0.5 * (units == 0))),
        only_base=counts.only_base if counts else None,
        only_method=counts.only_method if counts else None,
        design_effect=_design_effect(items, clusters),
        seed_sd=_seed_sd(clusters),
        per_seed=_per_seed(paired.seeds, clusters),
        average=options.weight,
        alpha=options.alpha,
        margin=options.margin,
        noninferior=None if found.p_noninferiority is None else found.p_noninferiority <= options.alpha,
        p_noninferiority=found.p_noninferiority,
        min_attainable_p=found.min_attainable_p,
        warnings=paired.warnings + found.warnings + _no_relative_gain(base_mean),
    )


def _mde(found: Inference, n_clusters: int, alpha: float) -> float | None:
    """The minimum detectable effect. With few training seeds, a test finds less than its standard error promises.

    Tests of signs find nothing in a few clusters, and no less than `least_found` in items that are right or wrong.
    """
    if found.se is None:
        return None
    if found.test == SHARE_WEIGHTED:
        return mde(found.se, alpha, df=found.df)
    least = least_found(n_clusters, alpha)
    if least is None:
        return None
    return max(mde(found.se, alpha), least if found.test == MCNEMAR else 0.0)


def _no_relative_gain(base_mean: float) -> tuple[Caveat, ...]:
    if base_mean > SMALLEST:
        return ()
    return (Caveat("relative_undefined", f"the base scores {base_mean:.4g}: no relative gain"),)


def _standardised(units: Floats) -> float | None:
    """d_z: the mean over the standard deviation of the differences."""
    sd = float(np.std(units, ddof=1)) if len(units) > 1 else 0.0
    return float(units.mean() / sd) if sd > 1e-12 * np.abs(units).max() else None


def _design_effect(items: Floats, clusters: ClusterSums) -> float | None:
    """The CR1 variance over the variance that independent items would give, seeds averaged."""
    if len(clusters.sizes) < 2 or clusters.is_flat or not np.ptp(items):
        return None
    return cr1_standard_error(clusters.linearised) ** 2 / (float(np.var(items, ddof=1)) / len(items))


def _seed_sd(clusters: ClusterSums) -> float | None:
    return float(np.std(clusters.per_seed, ddof=1)) if len(clusters.sums) > 1 else None


def _per_seed(seeds: tuple[int, ...], clusters: ClusterSums) -> tuple[tuple[int, float], ...]:
    return tuple(zip(seeds, clusters.per_seed.tolist(), strict=True)) if seeds else ()
