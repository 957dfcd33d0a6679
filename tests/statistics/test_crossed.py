"""Training seeds crossed with clusters: the formula computed by hand, pairing of seeds, degenerate data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as sps

from mipo_bench.reports.statistics.records import UNLIMITED
from mipo_bench.reports.stats import Comparison, Scores, compare, summarize

Floats = NDArray[np.float64]
DELTAS = np.asarray([[0.3, 0.1, 0.4, -0.1], [0.2, 0.0, 0.5, 0.1], [0.5, 0.2, 0.3, 0.0]])
"""Seeds x clusters."""


def arms(differences: Floats, sizes: list[int] | None = None, first_seed: int = 0) -> tuple[Scores, Scores]:
    """An untrained base of 0.5, and a method that differs by this much on every item of the cluster."""
    s, c = differences.shape
    user = np.repeat(np.arange(c), sizes or [1] * c)
    items, users = [f"q{i}" for i in range(len(user))], [f"user {u}" for u in user]
    values = (0.5 + differences[:, user]).ravel().tolist()
    seeds = np.repeat(np.arange(first_seed, first_seed + s), len(user)).tolist()
    base = Scores.from_columns(items, [0.5] * len(items), users)
    return base, Scores.from_columns(items * s, values, users * s, seeds)


def by_hand(x: Floats) -> tuple[float, float, float]:
    """(variance, df, p) of the mean of a seeds x clusters matrix; the mean squares are sums over cells."""
    s, c = x.shape
    grand = x.sum() / (s * c)
    rows, columns = [x[i].sum() / c for i in range(s)], [x[:, j].sum() / s for j in range(c)]
    ms_s = c * sum((row - grand) ** 2 for row in rows) / (s - 1)
    ms_c = s * sum((column - grand) ** 2 for column in columns) / (c - 1)
    rest = sum((x[i, j] - rows[i] - columns[j] + grand) ** 2 for i in range(s) for j in range(c))
    ms_e = rest / ((s - 1) * (c - 1))
    variance = max((ms_s + ms_c - ms_e) / (s * c), max(ms_s, ms_c) / (s * c))
    spread = ms_s**2 / (s - 1) + ms_c**2 / (c - 1) + ms_e**2 / ((s - 1) * (c - 1))
    df = max((s * c * variance) ** 2 / spread, s - 1)
    return variance, df, 2 * sps.t.sf(abs(grand) / math.sqrt(variance), df)


def codes(found: Comparison) -> list[str]:
    return [caveat.code for caveat in found.warnings]


@pytest.mark.parametrize("sizes", [[1, 1, 1, 1], [3, 3, 3, 3]])
@pytest.mark.parametrize("x", [DELTAS, DELTAS.T, DELTAS[:2], 0.1 * DELTAS + np.asarray([[0.3], [0.1], [0.2]])])
def test_formula(x: Floats, sizes: list[int]) -> None:
    found = compare(*arms(x, (sizes * 2)[: x.shape[1]]))
    variance, df, p = by_hand(x)
    half = sps.t.ppf(0.975, df) * math.sqrt(variance)
    assert found.test == "crossed-satterthwaite"
    assert found.delta == pytest.approx(x.mean())
    assert (found.se, found.df, found.p_value) == pytest.approx((math.sqrt(variance), df, p))
    assert (found.ci_low, found.ci_high) == pytest.approx((x.mean() - half, x.mean() + half))
    assert found.mde == pytest.approx(2.801585218 * math.sqrt(variance))


def test_figures_of_each_seed() -> None:
    found = compare(*arms(DELTAS, first_seed=7))
    assert found.n_seeds == 3
    assert dict(found.per_seed) == pytest.approx({7: 0.175, 8: 0.2, 9: 0.25})
    assert found.seed_sd == pytest.approx(np.std([0.175, 0.2, 0.25], ddof=1))
    assert found.only_base is None


def test_unequal_users_enter_by_their_items_or_equally() -> None:
    sizes = [1, 2, 3, 6]
    micro, macro = (compare(*arms(DELTAS, sizes), weight=weight) for weight in ("micro", "macro"))
    n = np.asarray(sizes, float)
    delta = (DELTAS * n).sum() / (3 * n.sum())
    assert micro.delta == pytest.approx(delta)
    variance, df, _ = by_hand(n * (DELTAS - delta) / n.mean())  # the linearised ratio
    assert (micro.se, micro.df) == pytest.approx((math.sqrt(variance), df))
    assert macro.delta == pytest.approx(DELTAS.mean())
    assert (macro.se, macro.df) == pytest.approx((math.sqrt(by_hand(DELTAS)[0]), by_hand(DELTAS)[1]))


def test_noninferiority_is_the_lower_end_of_the_90_interval() -> None:
    variance, df, _ = by_hand(DELTAS - 0.2)
    lower = (DELTAS - 0.2).mean() - sps.t.ppf(0.95, df) * math.sqrt(variance)
    inside, outside = (compare(*arms(DELTAS - 0.2), margin=-lower + step) for step in (1e-6, -1e-6))
    assert (inside.noninferior, outside.noninferior) == (True, False)
    assert inside.p_noninferiority == pytest.approx(0.05, abs=1e-4)


def test_one_seed_is_one_checkpoint() -> None:
    found = compare(*arms(DELTAS[:1]))
    assert (found.test, found.n_seeds, found.seed_sd) == ("sign-flip-exact", 1, None)
    assert "single_checkpoint" in codes(found)
    assert [caveat.code for caveat in summarize(arms(DELTAS[:1])[1]).warnings] == ["single_checkpoint"]


def test_identical_seeds_are_named() -> None:
    found = compare(*arms(np.repeat(DELTAS[:1], 3, axis=0)))
    assert "identical_seeds" in codes(found)
    assert found.p_value == pytest.approx(sps.ttest_1samp(DELTAS[0], 0).pvalue)  # the same p-value as with one seed


@pytest.mark.parametrize(
    ("x", "p", "expected"),
    [
        (np.zeros((3, 8)), 1, ["identical"]),
        (np.full((3, 8), 0.1), 2**-7, ["zero_variance"]),
        (np.full((3, 3), 0.1), 2**-2, ["zero_variance", "below_resolution"]),
        (np.asarray([[0.2, -0.2], [-0.2, 0.2]]), 1, ["zero_variance"]),
        (DELTAS[:, :1], None, ["untestable"]),
    ],
)
def test_without_variance(x: Floats, p: float | None, expected: list[str]) -> None:
    found = compare(*arms(x))
    assert found.p_value == p
    assert (found.ci_low, found.ci_high, found.mde) == (None, None, None)
    assert codes(found) == expected


def test_trained_arms_are_paired_by_seed() -> None:
    base, method = arms(DELTAS)[1], arms(DELTAS[::-1])[1]
    found = compare(base, method)
    assert [delta for _, delta in found.per_seed] == pytest.approx([0.075, 0, -0.075])
    assert found.delta == pytest.approx(0)


def test_a_single_checkpoint_meets_every_seed_of_the_other_side() -> None:
    one, three = arms(DELTAS[:1], first_seed=5)[1], arms(DELTAS)[1]
    found = compare(one, three)
    assert [delta for _, delta in found.per_seed] == pytest.approx([0, 0.025, 0.075])
    assert codes(found) == ["single_checkpoint"]


def test_seeds_on_one_side_only() -> None:
    two, three = arms(DELTAS[:2])[1], arms(DELTAS)[1]
    with pytest.raises(ValueError, match=r"training seeds \[2\] are on one side only"):
        compare(two, three)
    found = compare(two, three, missing="drop")
    assert found.n_seeds == 2
    assert "dropped_seeds" in codes(found)


def test_an_item_that_lacks_one_seed_is_left_out_under_every_seed() -> None:
    base, method = arms(DELTAS, [2, 2, 2, 2])
    value = method.value.copy()
    value[[3, 12]] = np.nan  # item 3 under seed 0, item 4 under seed 1
    holes = Scores(method.item, value, method.cluster, method.seed)
    with pytest.raises(ValueError, match=r"no score in the method for 2 items \('q3', 'q4'\)"):
        compare(base, holes)
    found = compare(base, holes, missing="drop")
    rest = compare(*arms(DELTAS, [2, 1, 1, 2]))
    assert codes(found) == ["dropped_items"]
    assert (found.n_items, found.delta, found.se, found.p_value) == (6, rest.delta, rest.se, rest.p_value)
    assert compare(base, holes, missing="zero").n_items == 8


def test_score_of_a_trained_arm() -> None:
    found = summarize(arms(DELTAS)[1], limits=UNLIMITED)
    mean, (variance, df, _) = 0.5 + DELTAS.mean(), by_hand(DELTAS)
    half = sps.t.ppf(0.975, df) * math.sqrt(variance)
    assert (found.method, found.n_seeds) == ("crossed-satterthwaite", 3)
    assert (found.mean, found.ci_low, found.ci_high) == pytest.approx((mean, mean - half, mean + half))
