"""Training seeds crossed with clusters: the share-weighted t by hand, pairing of seeds, degenerate data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize
from scipy import stats as sps

from mipo_bench.reports.statistics.parametric import mcnemar
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


class ByHand:
    """The share-weighted t of a seeds x clusters matrix with weights of clusters; mean squares are sums over cells."""

    def __init__(self, d: Floats, sizes: Floats | None = None) -> None:
        s, c = d.shape
        w = np.full(c, 1 / c) if sizes is None else sizes / sizes.sum()
        self.delta = sum(w[j] * d[i, j] / s for i in range(s) for j in range(c))
        z = np.array([[c * w[j] * (d[i, j] - self.delta) for j in range(c)] for i in range(s)])
        rows, columns = [z[i].sum() / c for i in range(s)], [z[:, j].sum() / s for j in range(c)]
        ms_s = c * sum(row**2 for row in rows) / (s - 1)
        ms_c = s * sum((columns[j] * (1 - 1 / c) / (1 - w[j])) ** 2 for j in range(c)) / (c - 1)
        rest = sum((z[i, j] - rows[i] - columns[j]) ** 2 for i in range(s) for j in range(c))
        ms_e = rest / ((s - 1) * (c - 1))
        v = max(ms_s - ms_e, 0) + max(ms_c - ms_e, 0) + ms_e
        self.se = math.sqrt(v / (s * c))
        levels = 1 / sum(w**2)
        first, second = ((s, ms_s), (levels, ms_c)) if s <= c else ((levels, ms_c), (s, ms_s))
        shares = []
        for k, x in (first, second):
            odds = (max(v + 0.2 * ms_e - x, 0) / x) ** 1.2 if x else math.inf
            shares.append((1 + odds) ** -(0.5 + 0.95 * math.log(k - 1)))
        (p1, p2), (k1, k2) = shares, (first[0], second[0])
        self.tests = ((p1, k1 - 1), ((1 - p1) * p2, k2 - 1), ((1 - p1) * (1 - p2), (k1 - 1) * (k2 - 1)))

    def p(self, t: float) -> float:
        return float(sum(weight * 2 * sps.t.sf(t, df) for weight, df in self.tests))

    def half(self, alpha: float = 0.05) -> float:
        """Half the width of the interval."""
        return self.se * float(optimize.brentq(lambda t: self.p(t) - alpha, 1, 1e4, xtol=1e-12))


def codes(found: Comparison) -> list[str]:
    return [caveat.code for caveat in found.warnings]


@pytest.mark.parametrize("sizes", [[1, 1, 1, 1], [3, 3, 3, 3]])
@pytest.mark.parametrize("x", [DELTAS, DELTAS.T, DELTAS[:2], 0.1 * DELTAS + np.asarray([[0.3], [0.1], [0.2]])])
def test_formula(x: Floats, sizes: list[int]) -> None:
    found, known = compare(*arms(x, (sizes * 2)[: x.shape[1]])), ByHand(x)
    assert found.test == "share-weighted-t"
    assert found.delta == pytest.approx(x.mean())
    assert (found.se, found.p_value) == pytest.approx((known.se, known.p(x.mean() / known.se)))
    assert (found.ci_low, found.ci_high) == pytest.approx((x.mean() - known.half(), x.mean() + known.half()))


def test_degrees_of_freedom_are_those_of_the_t_with_the_same_critical_value_and_enter_the_mde() -> None:
    found, known = compare(*arms(DELTAS)), ByHand(DELTAS)
    assert found.df is not None
    assert found.mde is not None
    assert sps.t.ppf(0.975, found.df) * known.se == pytest.approx(known.half())
    assert sps.nct.sf(sps.t.ppf(0.975, found.df), found.df, found.mde / known.se) == pytest.approx(0.8)


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("unit", [1e-60, 1e200])
def test_the_unit_of_the_scores_does_not_matter(unit: float) -> None:
    """Squares of such differences are 0 or infinite in floating point."""
    items, seeds = [f"q{i}" for i in range(4)], np.repeat(range(3), 4).tolist()
    base = Scores.from_columns(items, [0.0] * 4)
    small, large = (
        compare(base, Scores.from_columns(items * 3, (k * DELTAS).ravel().tolist(), None, seeds), limits=UNLIMITED)
        for k in (1.0, unit)
    )
    assert large.p_value == pytest.approx(small.p_value)
    assert small.ci_low is not None
    assert large.ci_low == pytest.approx(unit * small.ci_low)


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
    assert micro.se is not None
    assert micro.delta == pytest.approx(delta)
    assert (micro.se, micro.p_value) == pytest.approx((ByHand(DELTAS, n).se, ByHand(DELTAS, n).p(delta / micro.se)))
    assert macro.delta == pytest.approx(DELTAS.mean())
    assert macro.se == pytest.approx(ByHand(DELTAS).se)


def test_noninferiority_is_the_lower_end_of_the_90_interval() -> None:
    lower = (DELTAS - 0.2).mean() - ByHand(DELTAS).half(0.1)
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
        (np.full((3, 8), 0.1), None, ["no_variation"]),
        (np.full((2, 3), 0.1) + 1e-16, None, ["no_variation"]),
        (DELTAS[:, :1], None, ["untestable"]),
    ],
)
def test_without_variance(x: Floats, p: float | None, expected: list[str]) -> None:
    found = compare(*arms(x))
    assert found.p_value == p
    assert (found.ci_low, found.ci_high, found.mde) == (None, None, None)
    assert codes(found) == expected


@pytest.mark.parametrize(("clusters", "margin", "passes"), [(100, 0.05, True), (100, 0.02, False), (8, 0.02, False)])
def test_scores_without_a_difference_rule_out_no_smaller_loss_than_mcnemars_test_does(
    clusters: int, margin: float, passes: bool
) -> None:
    found = compare(*arms(np.zeros((3, clusters))), margin=margin)
    assert found.p_noninferiority == mcnemar(0, 0, clusters, 0.05, margin).p_noninferiority
    assert found.noninferior is passes


def test_the_bound_on_what_may_differ_counts_users() -> None:
    [caveat] = compare(*arms(np.zeros((3, 8)), sizes=[5] * 8)).warnings
    assert "on any of 40 items of 8 clusters" in caveat.message
    assert f"{1 - 0.05 ** (1 / 8):.1%}" in caveat.message


def test_residual_variance_alone_is_variance() -> None:
    """Seeds do not differ on average and users do not either, but each cell differs."""
    found = compare(*arms(np.asarray([[0.2, -0.1, 0.2], [-0.2, 0.1, -0.2], [0.0, 0.0, 0.0]]) + 0.1))
    assert found.se is not None
    assert found.p_value is not None
    assert found.p_value < 1


@pytest.mark.parametrize(("seeds", "count", "power"), [(2, "two", "40%"), (3, "three", "73%")])
def test_two_and_three_seeds_are_told_the_power_of_the_best_test(seeds: int, count: str, power: str) -> None:
    caveat = next(c for c in compare(*arms(DELTAS[:seeds])).warnings if c.code == "few_seeds")
    assert caveat.message.startswith(f"{count} training seeds")
    assert f"at most {power} of cases" in caveat.message
    assert "few_seeds" not in codes(compare(*arms(np.concatenate([DELTAS, DELTAS[::-1]]))))


def test_users_of_very_unequal_size_are_named() -> None:
    sizes = [40, 2, 1, 1]  # count as 1.2 users: fewer than two
    assert [c.message for c in compare(*arms(DELTAS, sizes)).warnings] == [
        "4 clusters of unequal size: they count as fewer than two"
    ]
    assert compare(*arms(DELTAS, sizes)).p_value is None
    assert compare(*arms(DELTAS, sizes), weight="macro").p_value is not None
    wide = np.tile(DELTAS, 3)
    found = compare(*arms(wide, [30, 10, 5, 1, 1, 1, 1, 1, 1, 1, 1, 1]))
    assert codes(found) == ["few_seeds", "unequal_clusters"]
    assert "12 clusters (users) of very unequal size count as 2.8 equal ones" in found.warnings[1].message
    assert found.p_value is not None


def test_trained_arms_are_paired_by_seed() -> None:
    base, method = arms(DELTAS)[1], arms(DELTAS[::-1])[1]
    found = compare(base, method)
    assert [delta for _, delta in found.per_seed] == pytest.approx([0.075, 0, -0.075])
    assert found.delta == pytest.approx(0)


def test_a_single_checkpoint_meets_every_seed_of_the_other_side() -> None:
    one, three = arms(DELTAS[:1], first_seed=5)[1], arms(DELTAS)[1]
    found = compare(one, three)
    assert [delta for _, delta in found.per_seed] == pytest.approx([0, 0.025, 0.075])
    assert codes(found) == ["single_checkpoint", "few_seeds"]


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
    assert codes(found) == ["dropped_items", "few_seeds"]
    assert (found.n_items, found.delta, found.se, found.p_value) == (6, rest.delta, rest.se, rest.p_value)
    assert compare(base, holes, missing="zero").n_items == 8


def test_score_of_a_trained_arm() -> None:
    found = summarize(arms(DELTAS)[1], limits=UNLIMITED)
    mean, half = 0.5 + DELTAS.mean(), ByHand(DELTAS).half()
    assert (found.method, found.n_seeds) == ("share-weighted-t", 3)
    assert (found.mean, found.ci_low, found.ci_high) == pytest.approx((mean, mean - half, mean + half))
