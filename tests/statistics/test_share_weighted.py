"""The share-weighted t test: reference cases, its limits at both ends, and its behaviour along continuous paths."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from paths import TESTS
from scipy import stats as sps

from mipo_bench.reports.statistics.records import Floats
from mipo_bench.reports.statistics.share_weighted import ShareWeightedT, root, share_weighted_t

CASES: list[dict[str, Any]] = json.loads((TESTS / "cases" / "few_seeds.json").read_text())["cases"]


def p_of(d: Floats, sizes: Floats | None = None) -> float:
    n = np.ones(d.shape[1]) if sizes is None else sizes
    return float(share_weighted_t(d, sizes).p_value(np.asarray((d * n).sum() / n.sum() / len(d))))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_reference_case(case: dict[str, Any]) -> None:
    d = np.asarray(case["d"], float)
    sizes = None if case["n"] is None else np.asarray(case["n"], float)
    test, n = share_weighted_t(d, sizes), np.ones(d.shape[1]) if sizes is None else sizes
    (p1, _), (p2, _), _ = test.parts
    delta, half = float((d * n).sum() / n.sum() / len(d)), test.critical(1 - case["level"]) * test.se
    found: dict[str, Any] = {
        "delta": delta,
        "se": test.se,
        "MSs": test.ms_seed,
        "MSc": test.ms_cluster,
        "MSe": test.ms_error,
        "P1": p1,
        "P2": p2 / (1 - p1),
        "p": test.p_value(np.asarray(delta)),
        "T": half / test.se,
        "lo": delta - half,
        "hi": delta + half,
    }
    assert {name: float(value) for name, value in found.items()} == pytest.approx(case["expected"], abs=1e-6)


def test_the_order_of_the_factors_does_not_matter_for_equal_clusters() -> None:
    d = np.random.default_rng(0).normal(0.3, 1, (3, 7))
    assert p_of(d) == pytest.approx(p_of(d.T), rel=1e-12)


def test_equal_seeds_are_a_t_test_of_clusters_and_equal_clusters_one_of_seeds() -> None:
    row = np.random.default_rng(1).normal(0.5, 1, 9)
    known = float(sps.ttest_1samp(row, 0).pvalue)
    assert p_of(np.tile(row, (3, 1))) == pytest.approx(known)
    assert p_of(np.tile(row[:, None], (1, 20))) == pytest.approx(known)


def test_no_variation_and_fewer_than_two_effective_clusters_have_no_p() -> None:
    assert np.isnan(p_of(np.full((3, 4), 0.25)))
    d = np.random.default_rng(2).normal(size=(3, 4))
    assert np.isnan(p_of(d, np.asarray([40.0, 1, 1, 1])))
    assert not np.isnan(p_of(d, np.asarray([2.0, 2, 1, 1])))


@pytest.mark.parametrize("shape", [(1, 5), (5, 1)])
def test_one_seed_or_one_cluster_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="the test needs two or more of both"):
        share_weighted_t(np.ones(shape))


def of(ms_seed: float, ms_cluster: float, ms_error: float, seeds: int = 3) -> ShareWeightedT:
    seed, cluster, error = (np.asarray(ms) for ms in (ms_seed, ms_cluster, ms_error))
    return ShareWeightedT(seed, cluster, error, n_seeds=seeds, n_clusters=30, effective_clusters=np.asarray(30.0))


@pytest.mark.parametrize("path", ["seed", "cluster", "error"])
def test_p_is_continuous_where_mean_squares_meet(path: str) -> None:
    """Each mean square runs from 0 through the others; no step of .001 moves p by more than .003."""
    steps = np.arange(0, 3, 0.001)
    given = {
        "ms_seed": np.ones_like(steps),
        "ms_cluster": np.full_like(steps, 2.0),
        "ms_error": np.full_like(steps, 0.5),
    }
    given[f"ms_{path}"] = steps
    test = ShareWeightedT(**given, n_seeds=3, n_clusters=30, effective_clusters=np.asarray(30.0))
    assert np.abs(np.diff(test.p_value(np.asarray(0.3)))).max() < 0.003


@pytest.mark.parametrize("seeds", [2, 3, 10])
@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.01, 1e-4])
def test_the_interval_is_the_exact_inversion_and_widens_with_the_level(seeds: int, alpha: float) -> None:
    for squares in ((3.0, 2.0, 1.0), (0.0, 2.0, 0.0), (0.2, 0.1, 1.0), (50.0, 1.0, 0.0)):
        test = of(*squares, seeds=seeds)
        t = test.critical(alpha)
        assert float(test.p_value(np.asarray(t * test.se))) == pytest.approx(alpha, abs=1e-9)
        assert test.critical(alpha / 2) > t
        assert float(sps.t.isf(alpha / 2, test.equivalent_df(alpha))) == pytest.approx(t, rel=1e-6)


def test_a_stack_of_matrices_is_tested_like_each_alone() -> None:
    rng = np.random.default_rng(3)
    d, sizes = rng.normal(size=(5, 3, 8)), rng.integers(1, 9, (5, 8)).astype(float)
    stacked = share_weighted_t(d, sizes).p_value(np.full(5, 0.2))
    alone = [float(share_weighted_t(d[n], sizes[n]).p_value(np.asarray(0.2))) for n in range(5)]
    assert stacked == pytest.approx(alone)


def test_a_root_is_found_from_either_side_and_the_search_ends_where_a_value_is_no_number() -> None:
    assert root(lambda x: x - 1, 0.0, 3.0) == root(lambda x: 1 - x, 3.0, 0.0) == 1.0
    assert math.isnan(root(lambda x: x - math.nan, 0.0, math.nan))
