"""Simulated null data must be rejected as often as alpha says; naive tests of the same data must not be.

Every rate is compared with the central 99.9% of the binomial distribution that a correct test would give. The
data are seeded: a rate outside its band is a change of the test, not bad luck.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as sps

from mipo_bench.reports.stats import Comparison, Scores, compare

pytestmark = pytest.mark.slow

Floats = NDArray[np.float64]
ALPHA = 0.05


@dataclass(frozen=True)
class Design:
    """Standard deviations of the effects on the difference between two arms, users of unequal size."""

    seeds: int
    sizes: tuple[int, ...]
    seed_sd: float = 0.0
    user_sd: float = 0.5
    interaction_sd: float = 0.0
    item_sd: float = 1.0

    def draw(self, rng: np.random.Generator) -> Floats:
        """Differences without a true effect, (seeds, items)."""
        user = np.repeat(np.arange(len(self.sizes)), self.sizes)
        seeds = self.seed_sd * rng.normal(size=(self.seeds, 1))
        users = self.user_sd * rng.normal(size=len(self.sizes))[user]
        both = self.interaction_sd * rng.normal(size=(self.seeds, len(self.sizes)))[:, user]
        return seeds + users + both + self.item_sd * rng.normal(size=(self.seeds, len(user)))

    def compare(self, differences: Floats, clustered: bool = True) -> Comparison:
        """The comparison of a base of zeros with a method that scores the differences."""
        names = np.asarray([f"q{i:04d}" for i in range(sum(self.sizes))], dtype=object)
        user = np.repeat(np.arange(len(self.sizes)), self.sizes).astype(str).astype(object)
        cluster = user if clustered else None
        seeds = np.repeat(np.arange(self.seeds), len(names)) if self.seeds > 1 else None
        base = Scores(names, np.zeros(len(names)), cluster)
        tiled = None if cluster is None else np.tile(cluster, self.seeds)
        method = Scores(np.tile(names, self.seeds), differences.ravel(), tiled, seeds)
        return compare(base, method, alpha=ALPHA, draws=999)


FEW_USERS = Design(1, (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12))
MANY_USERS = Design(1, tuple(range(1, 11)) * 4)
THREE_SEEDS = Design(3, (10,) * 30, seed_sd=0.1, user_sd=0.3, interaction_sd=0.1)
THREE_SEEDS_UNEQUAL = Design(3, (*range(1, 21), *(5,) * 10), seed_sd=0.1, user_sd=0.3, interaction_sd=0.1)
THREE_FAR_SEEDS = Design(3, (10,) * 30, seed_sd=0.3, user_sd=0.3, interaction_sd=0.1)


def band(runs: int, rate: float = ALPHA) -> tuple[float, float]:
    """The interval that contains the observed rate of a test with this true rate 99.9% of the time."""
    low, high = sps.binom.interval(0.999, runs, rate)
    return float(low) / runs, float(high) / runs


def p_values(design: Design, runs: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    return np.asarray([design.compare(design.draw(rng)).p_value for _ in range(runs)], dtype=np.float64)


@pytest.mark.parametrize(
    ("design", "test"),
    [
        (FEW_USERS, "sign-flip-exact"),
        (MANY_USERS, "sign-flip-monte-carlo"),
        (THREE_SEEDS, "share-weighted-t"),
        (THREE_SEEDS_UNEQUAL, "share-weighted-t"),
    ],
)
def test_null_data_are_rejected_at_alpha(design: Design, test: str) -> None:
    assert design.compare(design.draw(np.random.default_rng(0))).test == test
    rate = np.mean(p_values(design, 2000, seed=11) <= ALPHA)
    low, high = band(2000)
    assert low <= rate <= high, f"{rate:.3f} is outside [{low:.3f}, {high:.3f}]"


@pytest.mark.parametrize("design", [FEW_USERS, THREE_SEEDS])
def test_a_t_test_of_pooled_rows_is_out_of_the_band(design: Design) -> None:
    rng = np.random.default_rng(12)
    p = [sps.ttest_1samp(design.draw(rng).ravel(), 0).pvalue for _ in range(1000)]
    assert np.mean(np.asarray(p) <= ALPHA) > 2 * band(1000)[1]


def test_items_alone_are_out_of_the_band() -> None:
    """A common practice in papers: average over seeds, then resample users."""
    rng = np.random.default_rng(13)
    single = Design(1, THREE_FAR_SEEDS.sizes)
    p = [single.compare(THREE_FAR_SEEDS.draw(rng).mean(axis=0)).p_value for _ in range(500)]
    assert np.mean(np.asarray(p, dtype=np.float64) <= ALPHA) > 2 * band(500)[1]


def binary(rng: np.random.Generator, sizes: tuple[int, ...], tilt: float) -> tuple[Floats, Floats]:
    """Two arms of 0/1 scores that differ on a third of the items; `tilt` moves whole users to one side."""
    user = np.repeat(np.arange(len(sizes)), sizes)
    differs = rng.random(len(user)) < 1 / 3
    favour = 0.5 + tilt * rng.choice((-1, 1), size=len(sizes))[user]
    base = np.where(rng.random(len(user)) < favour, 0.0, 1.0)
    return base, np.where(differs, 1 - base, base)


def attained_size(items: int, discordance: float) -> float:
    """The exact size of the exact McNemar test, which is below alpha because it is discrete."""
    size = 0.0
    for discordant in range(1, items + 1):
        one_side = np.arange(discordant + 1)
        p = np.minimum(1, 2 * sps.binom.cdf(np.minimum(one_side, discordant - one_side), discordant, 0.5))
        rejected = sps.binom.pmf(one_side[p <= ALPHA], discordant, 0.5).sum()
        size += float(rejected * sps.binom.pmf(discordant, items, discordance))
    return size


def binary_rate(sizes: tuple[int, ...], tilt: float, clustered: bool, runs: int) -> float:
    rng = np.random.default_rng(14)
    design = Design(1, sizes)
    rejected = 0
    names = [f"q{i}" for i in range(sum(sizes))]
    users = np.repeat(np.arange(len(sizes)), sizes).astype(str).tolist() if clustered else None
    for _ in range(runs):
        base, method = (Scores.from_columns(names, side.tolist(), users) for side in binary(rng, design.sizes, tilt))
        p = compare(base, method, draws=999).p_value
        rejected += p is not None and p <= ALPHA
    return rejected / runs


def test_binary_null_data() -> None:
    size = attained_size(60, 1 / 3)
    low, high = band(2000, size)
    assert size < ALPHA
    assert low <= binary_rate((1,) * 60, 0.0, clustered=False, runs=2000) <= high


def test_binary_null_data_of_users() -> None:
    sizes, runs = (8,) * 30, 1000
    low, high = band(runs)
    assert low <= binary_rate(sizes, 0.4, clustered=True, runs=runs) <= high
    assert binary_rate(sizes, 0.4, clustered=False, runs=runs) > 2 * high  # McNemar ignores the users


def test_power_at_the_minimum_detectable_effect() -> None:
    """A true difference as large as the MDE is found about four times in five."""
    design, runs = Design(1, (5,) * 40), 1000
    se = np.sqrt((design.user_sd**2 + design.item_sd**2 / 5) / 40)
    effect = 2.8016 * se
    expected = float(
        sps.nct.sf(sps.t.ppf(1 - ALPHA / 2, 39), 39, 2.8016)
    )  # the MDE uses z and the test t with 39 df, a small difference
    rng = np.random.default_rng(15)
    found = [design.compare(design.draw(rng) + effect) for _ in range(runs)]
    low, high = band(runs, expected)
    assert expected == pytest.approx(0.8, abs=0.03)
    assert low <= np.mean([f.p_value is not None and f.p_value <= ALPHA for f in found]) <= high
    assert np.mean([f.mde for f in found if f.mde is not None]) == pytest.approx(effect, rel=0.02)


@pytest.mark.parametrize("design", [FEW_USERS, MANY_USERS, THREE_SEEDS_UNEQUAL])
def test_intervals_cover_the_true_difference(design: Design) -> None:
    rng = np.random.default_rng(16)
    found = [design.compare(design.draw(rng) + 0.7) for _ in range(1000)]
    covered = np.mean([f.ci_low is not None and f.ci_high is not None and f.ci_low <= 0.7 <= f.ci_high for f in found])
    low, high = band(1000, 1 - ALPHA)
    assert low <= covered <= high
