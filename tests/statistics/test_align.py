"""Alignment of long tables: samples, missing scores, users, duplicates; row order and direction have no effect."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats as sps

from mipo_bench.reports.statistics.records import UNLIMITED
from mipo_bench.reports.stats import MissingScoresError, Scores, compare, summarize

PAIR = Scores.from_columns(["a", "b"], [0.5, 0.25], ["u", "v"])


def shuffled(scores: Scores, order: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Scores:
    columns = (scores.item, scores.value, scores.cluster, scores.seed, scores.sample)
    return Scores(*(None if column is None else column[order] for column in columns))  # type: ignore[arg-type]


def random_arm(seed: int, trained: bool, graded: bool = True, items: int = 60) -> Scores:
    rng = np.random.default_rng(seed)
    names = [f"q{i}" for i in range(items) for _ in range(6)]
    values = rng.random(len(names)).round(2) if graded else rng.integers(0, 2, len(names)).astype(float)
    row = np.arange(len(names)) % 6
    return Scores.from_columns(
        names,
        values.tolist(),
        [f"u{int(name[1:]) % 23}" for name in names],
        (row % 3).tolist() if trained else None,
        (row // 3 if trained else row).tolist(),
    )


def test_samples_of_a_prompt_count_once() -> None:
    base = Scores.from_columns(["a", "b", "c"], [0, 0, 0])
    method = Scores.from_columns(list("aaabbc"), [1, 0, 0.5, 1, 0, 1], sample=[0, 1, 2, 0, 1, 0])
    found = compare(base, method)
    assert (found.n_items, found.n_clusters) == (3, 3)
    assert found.delta == pytest.approx((0.5 + 0.5 + 1) / 3)


def test_averaged_binary_samples_are_graded() -> None:
    base = Scores.from_columns(list("abcdef"), [0, 1, 0, 1, 0, 0])
    once = Scores.from_columns(list("abcdef"), [1, 1, 1, 1, 1, 1])
    twice = Scores.from_columns(list("abcdef") * 2, [1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0], sample=[0] * 6 + [1] * 6)
    assert compare(base, once).test == "mcnemar-exact"
    assert compare(base, twice).test == "sign-flip-exact"
    assert compare(base, twice).only_method is None


def test_binary_scores_of_users_use_the_clusters() -> None:
    users = list("uuvvww")
    base = Scores.from_columns(list("abcdef"), [0, 1, 0, 1, 0, 0], users)
    found = compare(base, Scores.from_columns(list("abcdef"), [1, 1, 1, 1, 0, 0], users))
    assert found.test == "sign-flip-exact"
    assert (found.only_base, found.only_method, found.n_clusters) == (0, 2, 3)


def test_missing_scores() -> None:
    base = Scores.from_columns(list("abcdefgh"), [0.1] * 8)
    method = Scores.from_columns(list("bcdefghx"), [0.2, math.nan, 0.3, 0.5, 0.1, 0.4, 0.7, 1])
    with pytest.raises(MissingScoresError, match=r"no score in the base for 1 item \('x'\)") as error:
        compare(base, method)
    assert (error.value.base, error.value.method) == (("x",), ("a", "c"))
    dropped = compare(base, method, missing="drop")
    assert [dropped.n_items, dropped.base_mean] == pytest.approx([6, 0.1])
    assert dropped.warnings[0].code == "dropped_items"
    assert "'a', 'c', 'x'" in dropped.warnings[0].message
    zero = compare(base, method, missing="zero")
    assert [zero.n_items, zero.base_mean, zero.method_mean] == pytest.approx([9, 0.8 / 9, 3.2 / 9])
    assert zero.warnings[0].code == "missing_as_zero"


def test_an_item_takes_its_user_from_the_side_that_names_one() -> None:
    base, method = Scores.from_columns(["c", "a", "b"], [1, 0, 0]), Scores.from_columns(["a", "b"], [1, 1], ["u", "u"])
    assert compare(base, method, missing="zero").n_clusters == 2  # u, and item c by itself
    both = compare(Scores.from_columns(["a", "c"], [0, 1], ["u", "v"]), method, missing="zero")
    assert (both.n_items, both.n_clusters) == (3, 2)
    with pytest.raises(ValueError, match="'b' belongs to user 'v' in the base and 'u' in the method"):
        compare(Scores.from_columns(["c", "b"], [0, 1], ["u", "v"]), method, missing="zero")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scores.from_columns([], []), "no scores"),
        (lambda: Scores.from_columns(["a"], [math.inf]), "'a' is infinite"),
        (lambda: Scores.from_columns(["a"], [1, 2]), "value has shape"),
        (lambda: summarize(Scores.from_columns(["a", "a"], [1, 2])), "'a' has two rows"),
        (lambda: summarize(Scores.from_columns(["a"], [math.nan])), "'a' lacks a score"),
        (lambda: summarize(Scores.from_columns(["a", "a"], [1, 2], ["u", "v"], sample=[0, 1])), "two users"),
        (lambda: compare(PAIR, Scores.from_columns(["a", "b"], [1, 0], ["u", "x"])), "belongs to user"),
        (lambda: compare(PAIR, Scores.from_columns(["c"], [1]), missing="drop"), "nothing is left"),
        (lambda: compare(PAIR, PAIR, alpha=1), "alpha is 1"),
        (lambda: compare(PAIR, PAIR, margin=-0.1), "margin is -0.1"),
        (lambda: compare(PAIR, PAIR, weight="users"), "allowed are micro, macro"),  # type: ignore[arg-type]
        (lambda: compare(PAIR, PAIR, missing="skip"), "allowed are error, drop, zero"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_compared_is_named(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()


def test_one_item_and_one_user_are_untestable() -> None:
    one = compare(Scores.from_columns(["a"], [0]), Scores.from_columns(["a"], [1]))
    assert (one.delta, one.p_value, one.ci_low, one.se, one.min_attainable_p) == (1, None, None, None, None)
    assert one.warnings[0].code == "untestable"
    user = Scores.from_columns(list("ab"), [0.1, 0.2], ["u", "u"])
    assert compare(user, user).p_value is None
    assert summarize(user).method == "none"


@pytest.mark.parametrize("graded", [True, False])
@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("weight", ["micro", "macro"])
def test_sides_rows_and_json(weight: str, trained: bool, graded: bool) -> None:
    """Swapping the sides negates the difference; the order of rows changes no bit; records are plain JSON."""
    base, method = random_arm(1, False, graded), random_arm(2, trained, graded)
    options = {"weight": weight, "draws": 500}
    found = compare(base, method, **options)  # type: ignore[arg-type]
    swapped = compare(method, base, **options)  # type: ignore[arg-type]
    assert (swapped.delta, swapped.p_value, swapped.se) == (-found.delta, found.p_value, found.se)
    assert found.ci_low is not None
    assert (swapped.ci_high, swapped.df) == pytest.approx((-found.ci_low, found.df))
    rng = np.random.default_rng(0)
    sides = [shuffled(side, rng.permutation(len(side.item))) for side in (base, method)]
    assert compare(*sides, **options) == found  # type: ignore[arg-type]
    json.dumps(asdict(found), allow_nan=False)


def test_differences_that_cancel_inside_users_are_not_identical() -> None:
    users = list("uuvv")
    found = compare(
        Scores.from_columns(list("abcd"), [0.1] * 4, users),
        Scores.from_columns(list("abcd"), [0.4, -0.2, 0.3, -0.1], users),
    )
    assert (found.delta, found.p_value) == (0, 1)
    assert [caveat.code for caveat in found.warnings] == ["zero_variance"]


def test_the_seed_of_the_draws_decides() -> None:
    base, method = random_arm(1, False), random_arm(2, False)
    assert compare(base, method, seed=1) == compare(base, method, seed=1)
    assert compare(base, method, seed=1).p_value != compare(base, method, seed=2).p_value


def test_score_of_an_arm() -> None:
    graded = Scores.from_columns(list("abcd"), [0.1, 0.2, 0.4, 0.9])
    found = summarize(graded)
    low, high = sps.t.interval(0.95, 3, 0.4, np.std([0.1, 0.2, 0.4, 0.9], ddof=1) / 2)
    assert low < 0
    assert (found.method, found.n_seeds) == ("cluster-t", 0)
    assert (found.mean, found.ci_low, found.ci_high) == pytest.approx((0.4, 0, high))  # a share is at least 0
    free = summarize(graded, limits=UNLIMITED)
    assert (free.ci_low, free.ci_high) == pytest.approx((low, high))
    users = Scores.from_columns(list("abcd"), [0.1, 0.2, 0.4, 0.9], list("uuuv"))
    assert summarize(users).mean == pytest.approx(0.4)
    assert summarize(users, weight="macro").mean == pytest.approx((0.7 / 3 + 0.9) / 2)
    same = summarize(Scores.from_columns(list("abcd"), [1, 1, 1, 1], list("uuvv")))
    assert (same.ci_low, [caveat.code for caveat in same.warnings]) == (None, ["zero_variance"])


@pytest.mark.parametrize("seeds", [1, 2])
def test_two_clusters_give_no_interval(seeds: int) -> None:
    items, users = list("abcd") * seeds, list("uuvv") * seeds
    train = [s for s in range(seeds) for _ in range(4)]
    found = summarize(Scores.from_columns(items, [0.1, 0.2, 0.4, 0.9, 0.2, 0.2, 0.5, 0.9][: 4 * seeds], users, train))
    assert (found.n_clusters, found.ci_low, found.ci_high) == (2, None, None)
    assert "few_clusters" in [caveat.code for caveat in found.warnings]


def test_intervals_end_where_scores_end() -> None:
    """Three users and two seeds that differ much: the t interval of the difference reaches far beyond 1."""
    items, users, train = list("abc") * 2, list("uvw") * 2, [0, 0, 0, 1, 1, 1]
    base = Scores.from_columns(items, [0, 0.1, 0, 0, 0, 0.1], users, train)
    method = Scores.from_columns(items, [0.9, 1, 1, 0, 0, 0.1], users, train)
    found, free = compare(base, method), compare(base, method, limits=UNLIMITED)
    assert (found.ci_low, found.ci_high) == (-1, 1)
    assert free.ci_high is not None
    assert free.ci_high > 1
    assert replace(free, ci_low=-1, ci_high=1) == found  # nothing else changes
    logs = Scores.from_columns(items, [10 * value for value in method.value], users, train)
    assert compare(base, logs) == compare(base, logs, limits=UNLIMITED)  # scores beyond 1 have no known range
