"""The smallest difference that a plan can find, compared with simulated data under the same assumptions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as sps

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.planning.power import planned_power
from mipo_bench.reports.statistics.power import SD, smallest_found


def said(*settings: str, task: str = "persona", recipes: tuple[str, ...] = ("mipo-random",)) -> list[str]:
    config = load_config(None, settings, {"tasks": [task], "recipes": list(recipes)})
    return list(planned_power(make_plan(config), config))


@pytest.mark.parametrize("size", [1, 5])
def test_four_of_five_simulated_differences_of_that_size_are_found(size: int) -> None:
    """30 users with one item each, or with five items that all change alike."""
    found = smallest_found(30 * size, 30)
    assert found is not None
    rng = np.random.default_rng(0)
    users = rng.normal(found.alike, SD, (4000, 30))
    assert float(np.mean(sps.ttest_1samp(users, 0, axis=1).pvalue < 0.05)) == pytest.approx(0.8, abs=0.02)
    items = rng.normal(found.independent, SD, (4000, 30, size)).mean(axis=2)
    assert float(np.mean(sps.ttest_1samp(items, 0, axis=1).pvalue < 0.05)) == pytest.approx(0.8, abs=0.02)
    assert (found.alike > found.independent) == (size > 1)


def test_a_range_for_users_with_several_items_and_one_figure_without() -> None:
    found = smallest_found(300, 100)
    assert found is not None
    ends = f"persona {found.independent:.3f} to {found.alike:.3f};".replace("0.", ".")
    assert ends in said()[0]
    assert " to " not in said(task="arithmetic")[0]


def test_the_family_shares_alpha_and_trained_baselines_are_not_in_it() -> None:
    assert "and 1 primary comparison at alpha 0.05 (Holm)" in said()[1]
    assert "and 2 primary comparisons at alpha 0.05 (Holm)" in said(recipes=("mipo-random", "mipo-missing"))[1]
    assert said(recipes=("mipo-random", "sft-self")) == said()
    two, one = said(recipes=("mipo-random", "mipo-missing"))[0], said()[0]
    assert "takes 785 independent items" in one
    assert "takes 951 independent items" in two
    found = smallest_found(300, 100, 0.05 / 2)
    assert found is not None
    assert f"persona {found.independent:.3f} to ".replace("0.", ".") in two


def test_too_few_users_are_named() -> None:
    assert (
        "persona none (one training seed needs 6 users or items that change, there are 4)"
        in said("limit=12", "seeds=1")[0]
    )
    assert "persona none (too few users or items)" in said("limit=3")[0]


def test_nothing_is_said_where_nothing_is_trained() -> None:
    assert said(recipes=()) == []
    assert said(recipes=("sft-self",)) == []
