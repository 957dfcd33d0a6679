"""Pairwise verdicts in both orders, and correction for many comparisons."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mipo_bench.reports.stats import benjamini_hochberg, holm, win_rate

FIRST, SECOND = "WWWTLWTWLW", "WTLTLWWWLT"


def test_win_rate_by_hand() -> None:
    worth = [1, 0.75, 0.5, 0.5, 0, 1, 0.75, 1, 0, 0.75]
    found = win_rate(FIRST, SECOND)
    assert found.win_rate == pytest.approx(np.mean(worth))
    assert (found.wins, found.ties, found.losses) == (6, 2, 2)
    assert (found.strict_wins, found.strict_losses, found.reversals) == (3, 2, 1)
    u = np.asarray(worth) - 0.5
    flips = [abs(np.dot(signs, u)) >= abs(u.sum()) for signs in itertools.product((1, -1), repeat=10)]
    assert found.p_value == np.mean(flips)
    ratios = sorted(np.mean(subset) for size in range(1, 11) for subset in itertools.combinations(u.tolist(), size))
    assert (found.ci_low, found.ci_high) == pytest.approx((0.5 + ratios[24], 0.5 + ratios[-25]))


def test_kappa_by_hand() -> None:
    """6 of 10 verdicts agree; the expected agreement by chance is (6 x 4 + 2 x 3 + 2 x 3) / 100."""
    chance = (6 * 4 + 2 * 3 + 2 * 3) / 100
    agreed = sum(a == b for a, b in zip(FIRST, SECOND, strict=True)) / 10
    assert win_rate(FIRST, SECOND).kappa == pytest.approx((agreed - chance) / (1 - chance))


def test_only_reversals_are_no_ties_of_the_judge() -> None:
    found = win_rate("WWWWWWWW", "LLLLLLLL")
    assert (found.win_rate, found.p_value, found.reversals, found.ties) == (0.5, 1, 8, 8)
    assert found.kappa == 0


def test_users_are_the_unit() -> None:
    users = list("aabbccddee")
    found = win_rate(FIRST, SECOND, users)
    assert (found.n_clusters, found.n_items) == (5, 10)
    assert found.p_value in {k / 32 for k in range(2, 33, 2)}
    uneven = win_rate("WWWWL", "WWWWL", list("aaaab"), weight="macro")
    assert uneven.win_rate == 0.5


@pytest.mark.parametrize(("one", "two"), [("", ""), ("WX", "WW"), ("W", "WW")])
def test_bad_verdicts_are_refused(one: str, two: str) -> None:
    with pytest.raises(ValueError, match=r"verdicts are|one entry per item"):
        win_rate(one, two)


def test_adjusted_p_values_keep_their_places() -> None:
    p = [0.04, None, 0.01, 0.03, None]
    assert holm(p) == pytest.approx([0.12, None, 0.05, 0.12, None])
    assert benjamini_hochberg(p) == pytest.approx([0.2 / 3, None, 0.05, 0.2 / 3, None])
    assert holm([]) == holm([None])[1:] == []
    with pytest.raises(ValueError, match="p-values must lie"):
        holm([0.1, float("nan")])
