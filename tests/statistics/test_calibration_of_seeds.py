"""The share-weighted t rejects null data of 2 to 10 training seeds as often as it says, and its predecessor does not.

The data are seeded: a rate outside of its band is a change of the test, not bad luck.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from null_data import Kind, Seeds, p_values
from scipy import special
from scipy import stats as sps

from mipo_bench.reports.statistics.records import Floats

RUNS, ALPHA, LARGEST_SIZE = 8000, 0.05, 0.055
RUNS_OF_LARGE_DESIGNS = 3000
"""The largest size that the test is known to have at a nominal .05, over every ratio of the variances."""
EFFECT = 2.8
"""The true difference in standard errors that a known variance would find in 80% of cases."""
FAR = (
    Seeds(2, 100, 1, 1),
    Seeds(3, 100, 0.3, 1),
    Seeds(5, 3, 0.3, 3),
    Seeds(10, 4, 0.3, 3),
)
"""Designs in which the ratio of the variances is hard: the predecessor rejects too often."""


def most(size: float, runs: int = RUNS) -> float:
    """The rate that a test of this size exceeds once in a thousand times."""
    return float(sps.binom.ppf(0.999, runs, size)) / runs


def satterthwaite_p(x: Floats) -> Floats:
    """The predecessor: t with Satterthwaite's degrees of freedom, at least those of the seeds."""
    s, c = x.shape[-2:]
    mean = x.mean(axis=(-1, -2), keepdims=True)
    rows, columns = x.mean(axis=-1, keepdims=True) - mean, x.mean(axis=-2, keepdims=True) - mean
    residual = x - mean - rows - columns
    ms_s, ms_c = c * np.square(rows).sum((-1, -2)) / (s - 1), s * np.square(columns).sum((-1, -2)) / (c - 1)
    ms_e = np.square(residual).sum((-1, -2)) / ((s - 1) * (c - 1))
    v = np.maximum(ms_s + ms_c - ms_e, np.maximum(ms_s, ms_c))
    spread = ms_s**2 / (s - 1) + ms_c**2 / (c - 1) + ms_e**2 / ((s - 1) * (c - 1))
    df = np.maximum(s - 1, v**2 / spread)
    return np.asarray(2 * special.stdtr(df, -np.abs(mean[:, 0, 0]) / np.sqrt(v / (s * c))))


@pytest.mark.parametrize("kind", ["normal", "binary", "skewed"])
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
def test_null_data_are_rejected_at_most_as_often_as_the_test_says(seeds: int, kind: Kind, ratio: float) -> None:
    """100 clusters; seeds differ not at all, by `ratio` times the clusters' spread."""
    spread = 0.06 if kind == "binary" else 1.0
    design = Seeds(seeds, 100, ratio * spread, spread, kind=kind)
    p = p_values(design, RUNS_OF_LARGE_DESIGNS)
    for alpha, size in ((ALPHA, LARGEST_SIZE), (0.01, 0.014)):
        assert np.mean(p <= alpha) <= most(size, RUNS_OF_LARGE_DESIGNS)


@pytest.mark.parametrize("design", FAR, ids=str)
def test_hard_ratios_are_rejected_at_alpha_and_the_predecessor_rejects_too_often(design: Seeds) -> None:
    assert np.mean(p_values(design, RUNS) <= ALPHA) <= most(LARGEST_SIZE)
    assert np.mean(p_values(design, RUNS, test=satterthwaite_p) <= ALPHA) > most(LARGEST_SIZE)


@pytest.mark.parametrize("seeds", [5, 10])
def test_many_seeds_are_not_rejected_too_rarely(seeds: int) -> None:
    least = float(sps.binom.ppf(0.001, RUNS, 0.04)) / RUNS
    assert np.mean(p_values(Seeds(seeds, 30, 0.1, 1), RUNS) <= ALPHA) >= least


@pytest.mark.parametrize(
    ("seeds", "clusters", "seed_variance", "cluster_variance", "power"),
    [
        (2, 30, 0, 1, 0.29),
        (2, 100, 0.03, 0.3, 0.21),
        (3, 30, 0.01, 1, 0.65),
        (3, 100, 0.1, 1, 0.43),
        (4, 30, 0.03, 0.3, 0.62),
        (5, 100, 0.1, 1, 0.67),
        (10, 30, 0.01, 0.05, 0.73),
    ],
)
def test_power(seeds: int, clusters: int, seed_variance: float, cluster_variance: float, power: float) -> None:
    """The power of the page that introduces the test, computed there by another program."""
    design = Seeds(seeds, clusters, seed_variance**0.5, cluster_variance**0.5)
    found = np.mean(p_values(design, RUNS, EFFECT * design.se) <= ALPHA)
    assert found == pytest.approx(power, abs=0.02)


def test_an_effect_that_users_alone_explain_needs_no_seeds() -> None:
    """Without noise of trainings, two seeds have the power of a t test of users: not every design has their limit."""
    alone = replace(FAR[0], seed_sd=0.0, error_sd=1e-6)
    assert np.mean(p_values(alone, RUNS, EFFECT * alone.se) <= ALPHA) == pytest.approx(0.79, abs=0.02)
