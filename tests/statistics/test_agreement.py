"""Cohen's kappa, the win rate at equal lengths, and a judge's consistency in both orders."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as sps

from mipo_bench.reports.analysis.judges import BothOrders, consistency
from mipo_bench.reports.statistics.verdicts.agreement import agreement
from mipo_bench.reports.statistics.verdicts.length_control import length_controlled
from mipo_bench.reports.stats import Scores, compare


def test_kappa_of_a_table_worked_by_hand() -> None:
    """Both say yes 20 times, no 15 times; 5 and 10 times they differ: P_o .7, P_e .5, kappa .4."""
    first = [1.0] * 25 + [0.0] * 25
    second = [1.0] * 20 + [0.0] * 5 + [1.0] * 10 + [0.0] * 15
    found = agreement(first, second, [str(n) for n in range(50)])
    assert found.agreed == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)
    # Fleiss, Cohen and Everitt (1969), eq. 13, from the cells of the table
    cells = np.array([[0.4, 0.1], [0.2, 0.3]])
    rows, columns = cells.sum(1), cells.sum(0)
    a = sum(cells[i, i] * (1 - (rows[i] + columns[i]) * 0.6) ** 2 for i in range(2))
    b = 0.6**2 * sum(cells[i, j] * (columns[i] + rows[j]) ** 2 for i in range(2) for j in range(2) if i != j)
    variance = (a + b - (0.4 - 0.5 * 0.6) ** 2) / 0.5**2 / 50
    half = sps.t.ppf(0.975, 49) * math.sqrt(variance * 50 / 49)
    assert [found.ci_low, found.ci_high] == pytest.approx([0.4 - half, 0.4 + half])


def test_kappa_where_it_says_nothing() -> None:
    assert agreement([1.0, 1.0], [1.0, 1.0], ["a", "b"]).kappa is None
    perfect = agreement([1.0, 0.0, 1.0], [1.0, 0.0, 1.0], list("abc"))
    assert (perfect.kappa, perfect.ci_low) == (1.0, None)
    one_user = agreement([1.0, 0.0, 1.0], [1.0, 1.0, 0.0], list("aaa"))
    assert one_user.kappa is not None
    assert one_user.ci_low is None
    with pytest.raises(ValueError, match="at least one item"):
        agreement([], [], [])


def test_two_clusters_give_no_interval() -> None:
    rng = np.random.default_rng(0)
    labels, verdicts = (rng.integers(0, 2, 40).tolist() for _ in range(2))
    length = rng.normal(size=40).tolist()
    for users, known in ((2, False), (3, True)):
        cluster = [str(n % users) for n in range(40)]
        assert (agreement(labels, verdicts, cluster).ci_low is not None) == known
        assert (length_controlled(verdicts, length, cluster).ci_low is not None) == known


def test_the_interval_of_kappa_covers_it() -> None:
    """95% intervals contain the true kappa about 95 times in 100, with whole users that are easy or hard to judge."""
    rng = np.random.default_rng(5)
    hits = []
    truth = 2 * (0.5 * 0.95 + 0.5 * 0.65) - 1
    for _ in range(400):
        users = np.repeat(np.arange(40), 5)
        right = rng.random(200) < np.where(rng.random(40) < 0.5, 0.95, 0.65)[users]
        label = rng.integers(0, 2, 200)
        said = np.where(right, label, 1 - label)
        found = agreement(label.tolist(), said.tolist(), users.astype(str).tolist())
        assert found.ci_low is not None
        assert found.ci_high is not None
        hits.append(found.ci_low <= truth <= found.ci_high)
    low, high = sps.binom.interval(0.999, 400, 0.95)
    assert low <= sum(hits) <= high


def test_length_explains_what_length_wins() -> None:
    """A judge that prefers the longer response by half a logit per token, with no other preference."""
    rng = np.random.default_rng(1)
    difference = rng.normal(2.0, 1.0, 4000)
    worth = (rng.random(4000) < 1 / (1 + np.exp(-2 * np.tanh(difference / difference.std())))).astype(float)
    items = [str(n) for n in range(4000)]
    found = length_controlled(worth.tolist(), difference.tolist(), items)
    assert worth.mean() > 0.8
    assert found.win_rate == pytest.approx(0.5, abs=0.08)
    assert found.ci_low is not None
    assert found.ci_high is not None
    assert found.ci_low < 0.5 < found.ci_high
    assert found.slope == pytest.approx(2.0, abs=0.4)


def test_length_control_without_a_length_difference_is_the_win_rate() -> None:
    found = length_controlled([1, 1, 0, 0.5], [0, 0, 0, 0], list("abcd"))
    assert found.win_rate == pytest.approx(0.625)
    assert found.slope is None


@pytest.mark.parametrize(
    ("worth", "difference", "reason"),
    [
        ([1, 1, 1], [3, 1, 2], "one side wins every time"),
        ([0, 0], [3, 1], "one side wins every time"),
        ([1, 0, 1, 0], [5, -5, 5, -5], "wins and lengths are separated"),
    ],
)
def test_length_control_that_has_no_answer_says_so(worth: list[float], difference: list[float], reason: str) -> None:
    found = length_controlled(worth, difference, [str(n) for n in range(len(worth))])
    assert (found.win_rate, found.ci_low, found.slope) == (None, None, None)
    assert reason in found.warnings[0].message


def test_the_length_controlled_interval_covers_one_half_under_the_null() -> None:
    rng = np.random.default_rng(9)
    hits = []
    for _ in range(300):
        users = np.repeat(np.arange(40), 3)
        difference = rng.normal(1.0, 2.0, 120) + rng.normal(0, 1, 40)[users]
        lean = 1.5 * np.tanh(difference / difference.std()) + rng.normal(0, 0.5, 40)[users]
        worth = (rng.random(120) < 1 / (1 + np.exp(-lean))).astype(float)
        found = length_controlled(worth.tolist(), difference.tolist(), users.astype(str).tolist())
        assert found.ci_low is not None
        assert found.ci_high is not None
        hits.append(found.ci_low <= 0.5 <= found.ci_high)
    assert 0.90 <= np.mean(hits) <= 0.99


def test_null_verdicts_are_rejected_as_often_as_alpha_says() -> None:
    """Judged scores against the constant 1/2 of the reference, users with correlated verdicts."""
    rng = np.random.default_rng(3)
    items = [f"i{n}" for n in range(60)]
    users = [f"u{n // 3}" for n in range(60)]
    reference = Scores.from_columns(items, [0.5] * 60, users)
    rejected = 0
    for _ in range(400):
        lean = np.repeat(rng.normal(0, 1, 20), 3)
        first, second = (lean + rng.normal(0, 1, 60) > 0 for _ in range(2))
        worth = (first.astype(float) + second) / 2
        found = compare(reference, Scores.from_columns(items, worth.tolist(), users), draws=499)
        assert found.test.startswith("sign-flip")
        rejected += (found.p_value or 1) < 0.05
    low, high = sps.binom.interval(0.999, 400, 0.05)
    assert low <= rejected <= high


def orders(*verdicts: tuple[float | None, float | None]) -> list[BothOrders]:
    return [BothOrders(f"u{n}", *v) for n, v in enumerate(verdicts)]


def test_consistency_of_verdicts_worked_by_hand() -> None:
    """Verdicts are from the arm's side: (1, 0) wins when shown first and loses when shown second."""
    found = consistency(orders((1, 1), (0, 0), (1, 0), (1, 0), (0.5, 0), (None, 1)), [True, True, False], 0.05)
    assert (found.n_items, found.n_clusters) == (6, 6)
    assert found.consistent == pytest.approx(2 / 5)
    assert found.first_share == pytest.approx((1 + 1 + 2 + 2 + 1 + 0) / 10)
    assert found.first_p == pytest.approx(sps.binomtest(3, 4).pvalue)  # leaning: +2, +2, +1, and -1 of the last
    assert found.retest_agreement == pytest.approx(2 / 3)


def test_a_consistent_judge_shows_no_lean() -> None:
    found = consistency(orders((1, 1), (0, 0), (0.5, 0.5)), [], 0.05)
    assert (found.consistent, found.kappa, found.first_share, found.first_p) == (1.0, 1.0, 0.5, None)
    empty = consistency([], [], 0.05)
    assert (empty.n_items, empty.consistent, empty.first_share, empty.retest_agreement) == (0, None, None, None)
