"""The power of users x items x training seeds, against simulated scores; variance components of such scores."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from numpy.typing import NDArray

from mipo_bench.reports.statistics.design import (
    Components,
    Design,
    Goal,
    estimate_components,
    smallest_designs,
)
from mipo_bench.reports.statistics.share_weighted import share_weighted_t

SPREAD = Components(users=0.2, items=0.3, seeds=0.03, seeds_users=0.1, residual=0.25)


def simulated(sd: Components, design: Design, mu: float, sets: int) -> NDArray[np.float64]:
    """Differences of the model, (sets, seeds, users, items)."""
    rng = np.random.default_rng(3)
    s, c, m = design.seeds, design.users, design.items
    shapes = ((1, c, 1), (1, c, m), (s, 1, 1), (s, c, 1), (s, c, m))
    parts = (part * rng.normal(size=(sets, *shape)) for part, shape in zip(astuple(sd), shapes, strict=True))
    return np.asarray(mu + sum(parts, np.zeros((sets, s, c, m))))


@pytest.mark.parametrize(
    ("sd", "design"),
    [
        (SPREAD, Design(30, 5, 3)),
        (SPREAD, Design(60, 1, 2)),
        (SPREAD, Design(4, 10, 10)),
        (Components(users=0.4, seeds=0.1, residual=0.2), Design(100, 1, 5)),
        (Components(users=0.1), Design(12, 2, 4)),
        (Components(seeds=0.1), Design(12, 2, 4)),
    ],
)
@pytest.mark.parametrize("wanted", [0.3, 0.8])
def test_simulated_differences_are_found_as_often_as_the_power_says(
    sd: Components, design: Design, wanted: float
) -> None:
    mu = design.smallest_difference(sd, power=wanted)
    assert mu is not None
    assert design.power(mu, sd) == pytest.approx(wanted, abs=1e-4)
    means = simulated(sd, design, mu, 2000).mean(axis=-1)
    found = share_weighted_t(means).p_value(means.mean(axis=(1, 2))) <= 0.05
    assert float(found.mean()) == pytest.approx(wanted, abs=0.03)


def test_one_seed_is_the_t_test_of_users() -> None:
    """8 users under a normal distribution with known tables: noncentral t, 80% power at 1.1549 standard deviations."""
    found = Design(8, 1, 1).smallest_difference(Components(users=1.0, seeds=5.0))
    assert found == pytest.approx(1.1549, abs=0.003)


def test_a_difference_of_no_size_is_found_as_often_as_the_size_of_the_test() -> None:
    assert 0.02 < Design(30, 5, 3).power(0, SPREAD) < 0.06


def test_one_user_finds_nothing() -> None:
    assert Design(1, 5, 3).smallest_difference(SPREAD) is None


def test_components_are_those_of_the_simulation() -> None:
    design = Design(30, 5, 4)
    cluster = np.repeat(np.arange(30), 5)
    found = [astuple(estimate_components(x.reshape(4, -1), cluster)) for x in simulated(SPREAD, design, 0.1, 400)]
    variances = np.square(found).mean(axis=0)
    assert np.sqrt(variances) == pytest.approx(astuple(SPREAD), abs=0.012)


def test_users_of_unequal_size_do_not_bias_the_components() -> None:
    kept = np.concatenate([np.arange(5 * c, 5 * c + 1 + c % 5) for c in range(30)])
    sets = simulated(SPREAD, Design(30, 5, 4), 0.1, 400).reshape(400, 4, -1)[:, :, kept]
    found = [astuple(estimate_components(x, kept // 5)) for x in sets]
    assert np.sqrt(np.square(found).mean(axis=0)) == pytest.approx(astuple(SPREAD), abs=0.015)


def test_one_item_for_each_user_and_one_seed_leave_parts_together() -> None:
    whole = simulated(SPREAD, Design(2000, 1, 3), 0, 1)[0].reshape(3, -1)
    alone = estimate_components(whole, np.arange(2000))
    assert (alone.items, alone.seeds_users) == (0, 0)
    assert alone.users**2 == pytest.approx(0.2**2 + 0.3**2, rel=0.1)
    assert alone.residual**2 == pytest.approx(0.1**2 + 0.25**2, rel=0.1)
    one = estimate_components(simulated(SPREAD, Design(500, 5, 1), 0, 1).reshape(1, -1), np.repeat(np.arange(500), 5))
    assert (one.seeds, one.seeds_users, one.residual) == (0, 0, 0)
    assert one.items**2 == pytest.approx(0.3**2 + 0.25**2, rel=0.1)
    assert one.users**2 == pytest.approx(0.2**2 + 0.1**2, rel=0.2)


def test_the_fewest_users_are_just_enough() -> None:
    goal = Goal(0.15, 0.9, 0.01)
    found = smallest_designs(SPREAD, goal, seeds=(2, 5, 10), items=(1, 5), users=200)
    assert {(d.seeds, d.items) for d in found} == {(5, 1), (5, 5), (10, 1), (10, 5)}
    for design in found:
        fewer = Design(design.users - 1, design.items, design.seeds)
        assert fewer.power(0.15, SPREAD, 0.01) < 0.9 <= design.power(0.15, SPREAD, 0.01)


def test_components_need_two_users() -> None:
    with pytest.raises(ValueError, match="two or more"):
        estimate_components(np.ones((3, 4)), np.zeros(4, dtype=np.intp))
