"""Sensitivity: leave one cluster out, compared with doing it by hand, and the share of the most changed items."""

from __future__ import annotations

import numpy as np
import pytest

from mipo_bench.reports.statistics.records import Floats
from mipo_bench.reports.statistics.sensitivity import EXTREMES, TESTED_ALL
from mipo_bench.reports.stats import Average, Scores, compare, sensitivity


def arms(differences: Floats, users: list[str] | None) -> tuple[Scores, Scores]:
    """A base of 0.5, and a method with these differences, (seeds, items); untrained for one seed."""
    seeds, count = differences.shape
    items = [f"q{n:03d}" for n in range(count)]
    base = Scores.from_columns(items, [0.5] * count, users)
    tiled = users * seeds if users else None
    trained = np.repeat(np.arange(seeds), count).tolist() if seeds > 1 else None
    return base, Scores.from_columns(items * seeds, (0.5 + differences).ravel().tolist(), tiled, trained)


def by_hand(differences: Floats, users: list[str], weight: Average) -> tuple[tuple[float, str], tuple[float, str]]:
    """Delta and p farthest from the full ones, with the user, from comparisons without each user in turn."""
    full = compare(*arms(differences, users), weight=weight)
    found = []
    for user in sorted(set(users)):
        keep = [n for n, other in enumerate(users) if other != user]
        found.append((compare(*arms(differences[:, keep], [users[n] for n in keep]), weight=weight), user))
    delta, by_delta = max(found, key=lambda entry: abs(entry[0].delta - full.delta))
    p, by_p = max(found, key=lambda entry: abs((entry[0].p_value or 0) - (full.p_value or 0)))
    assert p.p_value is not None
    return (delta.delta, by_delta), (p.p_value, by_p)


@pytest.mark.parametrize("weight", ["micro", "macro"])
@pytest.mark.parametrize(("seeds", "users"), [(1, 12), (3, 12), (3, 3 * TESTED_ALL)])
def test_every_user_is_left_out_in_turn(seeds: int, users: int, weight: Average) -> None:
    rng = np.random.default_rng(users + seeds)
    owner = [f"u{n:03d}" for n in (*range(users), *rng.integers(0, users, 2 * users))]
    place = [int(user[1:]) for user in owner]
    d = 0.05 + 0.1 * rng.normal(size=users)[place] + 0.1 * rng.normal(size=(seeds, len(owner)))
    found = sensitivity(*arms(d, owner), weight=weight)
    (delta, by_delta), (p, by_p) = by_hand(d, owner, weight)
    assert found.delta_without == pytest.approx(delta)
    assert found.delta_cluster == by_delta
    assert found.p_without == pytest.approx(p)
    assert found.p_cluster == by_p


def test_of_many_clusters_without_users_the_extremes_are_left_out() -> None:
    """Sign flips of 60 items: the drawn signs differ between tests, so p is compared within their noise."""
    d = np.random.default_rng(3).normal(0.08, 0.2, (1, 60))
    found, names = sensitivity(*arms(d, None)), [f"q{n:03d}" for n in range(60)]
    (delta, by_delta), (p, _) = by_hand(d, names, "micro")
    assert found.delta_without == pytest.approx(delta)
    assert found.delta_cluster == by_delta
    assert found.p_without == pytest.approx(p, abs=0.006)
    near = np.argsort(d[0])
    assert found.p_cluster in {names[n] for n in (*near[:EXTREMES], *near[-EXTREMES:])}


def test_mcnemar_without_one_item() -> None:
    """Six items that the method alone solves: p is 2^-5, and 2^-4 without one of them."""
    names = [f"q{n}" for n in range(40)]
    base, method = (Scores.from_columns(names, [1.0] * 20 + [low] * 6 + [0.0] * 14) for low in (0.0, 1.0))
    found = sensitivity(base, method)
    assert found.p_without == pytest.approx(2**-4)
    assert found.p_cluster in names[20:26]
    assert found.delta_without == pytest.approx(5 / 39)
    assert found.top_items == tuple(names[20:25])
    assert found.top_share == pytest.approx(5 / 6)


@pytest.mark.parametrize("weight", ["micro", "macro"])
def test_share_of_the_five_most_changed_items(weight: Average) -> None:
    """User a has five items, user b two: by users, an item of b weighs 2.5 times as much."""
    d = np.asarray([[0.5, -0.4, 0.3, 0.2, 0.1, 0.15, 0.01]])
    found = sensitivity(*arms(d, ["a"] * 5 + ["b"] * 2), weight=weight)
    share = np.full(7, 1 / 7) if weight == "micro" else np.asarray([0.1] * 5 + [0.25] * 2)
    parts = share * d[0]
    order = np.argsort(-np.abs(parts))[:5]
    assert found.top_items == tuple(f"q{n:03d}" for n in order)
    assert found.top_share == pytest.approx(parts[order].sum() / parts.sum())


def test_of_equal_changes_those_along_the_delta_count_first() -> None:
    d = np.asarray([[-0.1] * 4 + [0.1] * 6 + [0.0] * 10])
    found = sensitivity(*arms(d, None))
    assert found.top_items == tuple(f"q{n:03d}" for n in range(4, 9))
    assert found.top_share == pytest.approx(0.5 / 0.2)


def test_undefined_figures_are_none() -> None:
    nothing = sensitivity(*arms(np.zeros((3, 8)), None))
    assert (nothing.delta_without, nothing.p_without, nothing.top_share) == (0, 1, None)
    one = sensitivity(*arms(np.asarray([[0.1, 0.2]]), ["u", "u"]))
    assert (one.delta_without, one.delta_cluster, one.p_without, one.top_share) == (None, None, None, 1)
    two = sensitivity(*arms(np.asarray([[0.1, 0.3]]), ["u", "v"]))
    assert two.delta_without == pytest.approx(0.3)
    assert (two.delta_cluster, two.p_without) == ("u", None)


def test_where_one_user_alone_differs_nothing_is_left_without_it() -> None:
    d = np.zeros((3, 8))
    d[:, 2] = (0.3, 0.2, 0.4)
    found = sensitivity(*arms(d, None))
    assert (found.p_without, found.p_cluster, found.delta_without) == (1, "q002", 0)
