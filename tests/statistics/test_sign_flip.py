"""Sign-flip test and interval agree with their definitions, enumerated in exact arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats as sps

from mipo_bench.reports.statistics.clusters import ClusterSums
from mipo_bench.reports.statistics.sign_flip import CHUNK, drawn_subsets, sign_flip
from mipo_bench.reports.stats import Comparison, Scores, compare

USERS = {"a": ["0.3", "0.1"], "b": ["0.2"], "c": ["-0.3", "0.4", "0.1"], "d": ["-0.1", "0.2"], "e": ["0.6"]}
USERS |= {"f": ["0.1", "0.1"], "g": ["-0.5", "0.1", "0.3", "0.2"]}
"""Differences per user: unequal clusters, and ties in exact arithmetic that floats would miss."""


def compared(users: dict[str, list[str]], weight: str = "micro", **options: float) -> Comparison:
    cluster = [user for user, differences in users.items() for _ in differences]
    values = [float(d) for differences in users.values() for d in differences]
    items = [f"item {i}" for i in range(len(values))]
    base = Scores.from_columns(items, [0.0] * len(items), cluster)
    return compare(base, Scores.from_columns(items, values, cluster), weight=weight, **options)  # type: ignore[arg-type]


def totals(users: dict[str, list[str]], weight: str) -> list[tuple[Fraction, int]]:
    """(u, n) of each cluster: sums and counts, or means and ones."""
    sums = [(total(Fraction(d) for d in ds), len(ds)) for ds in users.values()]
    return sums if weight == "micro" else [(u / n, 1) for u, n in sums]


def total(values: Iterable[Fraction]) -> Fraction:
    return sum(values, Fraction())


def exact_p(u: Sequence[Fraction]) -> float:
    """Share of all sign vectors whose |sum| is at least the observed one."""
    flips = [
        abs(total(s * x for s, x in zip(signs, u, strict=True))) for signs in itertools.product((1, -1), repeat=len(u))
    ]
    return sum(flip >= abs(total(u)) for flip in flips) / len(flips)


def exact_ratios(cells: Sequence[tuple[Fraction, int]]) -> list[Fraction]:
    """All subset ratios, sorted."""
    subsets = itertools.chain.from_iterable(itertools.combinations(cells, k) for k in range(1, len(cells) + 1))
    return sorted(total(u for u, _ in subset) / sum(n for _, n in subset) for subset in subsets)


@pytest.mark.parametrize("weight", ["micro", "macro"])
def test_p_and_interval_are_the_definition(weight: str) -> None:
    cells = totals(USERS, weight)
    found = compared(USERS, weight)
    ratios, k = exact_ratios(cells), int(2 ** len(cells) * 0.025)
    assert k >= 1
    assert found.test == "sign-flip-exact"
    assert found.delta == pytest.approx(float(sum(u for u, _ in cells) / sum(n for _, n in cells)))
    assert found.p_value == exact_p([u for u, _ in cells])
    assert [found.ci_low, found.ci_high] == pytest.approx([float(ratios[k - 1]), float(ratios[-k])], abs=1e-12)
    assert (found.n_clusters, found.n_items, found.df) == (7, 15, 6)


def test_micro_and_macro_differ_with_unequal_users() -> None:
    micro, macro = compared(USERS), compared(USERS, "macro")
    assert micro.delta == pytest.approx(1.8 / 15)
    assert macro.delta == pytest.approx((0.2 + 0.2 + 0.2 / 3 + 0.05 + 0.6 + 0.1 + 0.025) / 7)


def test_ties_of_rounded_sums_count() -> None:
    """0.1 + 0.2 and 0.3 are the same sum: a strict comparison of floats would lose half of the p-value."""
    users = {str(i): [d] for i, d in enumerate(["0.1", "0.2", "0.3", "0.3", "0.4", "-0.6", "0.7", "-0.1"])}
    u = [Fraction(ds[0]) for ds in users.values()]
    floats = np.asarray([float(x) for x in u])
    signs = np.asarray(list(itertools.product((1, -1), repeat=len(u))))
    strict = float(np.mean(np.abs((signs * floats).sum(axis=1)) >= abs(floats.sum())))
    assert compared(users).p_value == exact_p(u) != strict


def test_agrees_with_scipy_where_clusters_are_equal() -> None:
    differences = np.random.default_rng(3).normal(0.3, 1, 9)
    reference = sps.permutation_test(differences[np.newaxis], np.mean, permutation_type="samples", n_resamples=1000)
    found = compared({str(i): [str(d)] for i, d in enumerate(differences)})
    assert found.p_value == pytest.approx(float(reference.pvalue))


@pytest.mark.parametrize("seed", range(30))
def test_zero_is_outside_the_interval_just_where_p_is_at_most_alpha(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(6, 30))  # enumerated and drawn
    cells = ClusterSums(rng.normal(0.45, 1, (1, count)), rng.integers(1, 9, count).astype(float))
    found = sign_flip(cells, alpha=0.05, draws=999)
    assert found.p_value is not None
    assert found.ci_low is not None
    assert found.ci_high is not None
    assert (found.p_value <= 0.05) == (not found.ci_low <= 0 <= found.ci_high)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("count", [8, 25])
def test_noninferior_just_where_the_lower_end_of_the_90_interval_is_above_the_margin(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    cells = ClusterSums(rng.normal(0, 1, (1, count)), rng.integers(1, 9, count).astype(float))
    found = sign_flip(cells, alpha=0.05, margin=0.1, draws=999)
    wider = sign_flip(cells, alpha=0.10, draws=999)
    assert found.p_noninferiority is not None
    assert wider.ci_low is not None
    assert (found.p_noninferiority <= 0.05) == (wider.ci_low > -0.1)


def test_drawn_subsets_come_with_their_complements() -> None:
    """Without the complements, the interval and the two-sided p-value would use different sign vectors."""
    u, n = np.random.default_rng(6).normal(size=20), np.ones(20)
    subsets = drawn_subsets(u, n, seed=0, draws=50)
    assert subsets.size == 102
    assert np.sort(subsets.u) == pytest.approx(np.sort(u.sum() - subsets.u))
    assert np.sort(subsets.n).tolist() == np.sort(20 - subsets.n).tolist()


def test_the_sums_of_many_clusters_are_those_of_their_bits() -> None:
    """Sums are looked up for eight clusters at once, in blocks of draws; here are two blocks, and many tables."""
    rng = np.random.default_rng(1)
    u, n = rng.normal(size=20_003), rng.integers(1, 5, 20_003).astype(float)
    found, step, width = drawn_subsets(u, n, seed=3, draws=14_000), CHUNK // 20_003, 2_501
    bits = np.random.default_rng(3)
    for start in range(0, 14_000, step):
        raw = bits.bytes(min(step, 14_000 - start) * width)
    last = np.unpackbits(np.frombuffer(raw, dtype=np.uint8).reshape(-1, width), axis=1, count=20_003)
    rows = slice(14_001 - len(last), 14_001)
    assert found.u[rows] == pytest.approx(last @ u)
    assert found.n[rows].tolist() == (last @ n).tolist()


def test_draws_come_close_to_enumeration() -> None:
    rng = np.random.default_rng(5)
    cells = ClusterSums(rng.normal(0.2, 1, (1, 16)), rng.integers(1, 5, 16).astype(float))
    more = ClusterSums(
        np.append(cells.sums, 0.0)[np.newaxis], np.append(cells.sizes, 1e-9)
    )  # a 17th cluster without weight
    exact, drawn = sign_flip(cells, 0.05), sign_flip(more, 0.05, seed=1)
    assert [drawn.ci_low, drawn.ci_high] == pytest.approx([exact.ci_low, exact.ci_high], abs=0.02)


def test_a_drawn_p_is_one_plus_k_over_one_plus_b() -> None:
    """Twenty large differences: no draw reaches the observed sum, and p is still not 0."""
    found = sign_flip(ClusterSums(np.linspace(1, 2, 20)[np.newaxis], np.ones(20)), 0.05, draws=99)
    assert found.test == "sign-flip-monte-carlo"
    assert found.p_value == pytest.approx(1 / 100)
    assert found.min_attainable_p == pytest.approx(1 / 100)


def test_five_clusters_are_below_resolution_and_unbounded() -> None:
    found = compared({user: USERS[user] for user in "abcde"})
    assert found.p_value == exact_p([u for u, _ in totals({user: USERS[user] for user in "abcde"}, "micro")])
    assert (found.ci_low, found.ci_high, found.mde) == (None, None, None)
    assert found.se is not None
    assert [caveat.code for caveat in found.warnings if caveat.code != "relative_undefined"] == ["below_resolution"]


def test_zeros_do_not_count_as_clusters_that_differ() -> None:
    found = compared({str(i): [d] for i, d in enumerate(["0.5", "0.25", "0.125"] + ["0"] * 40)})
    assert found.p_value == found.min_attainable_p == 0.25
    assert "below_resolution" in [caveat.code for caveat in found.warnings]


def test_cr1_standard_error_and_design_effect() -> None:
    cells = totals(USERS, "micro")
    delta = sum(u for u, _ in cells) / sum(n for _, n in cells)
    scores = float(sum((u - n * delta) ** 2 for u, n in cells))
    found = compared(USERS)
    se = np.sqrt(7 / 6 * scores) / 15
    items = [float(d) for ds in USERS.values() for d in ds]
    assert found.se == pytest.approx(se)
    assert found.mde == pytest.approx((1.959963985 + 0.841621234) * se)
    assert found.design_effect == pytest.approx(se**2 / (np.var(items, ddof=1) / 15))
    assert found.effect_size == pytest.approx(np.mean(items) / np.std(items, ddof=1))
    assert found.p_better == pytest.approx(12 / 15)
