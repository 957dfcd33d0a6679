"""The reference cases of `cases/statistics.json`: expected values, and plausible wrong answers to avoid."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from paths import TESTS
from scipy import stats

from mipo_bench.reports.statistics.clusters import ClusterSums
from mipo_bench.reports.statistics.parametric import discordance_upper
from mipo_bench.reports.statistics.power import (
    kish_design_effect,
    least_found,
    mde,
    min_nonzero_clusters,
    required_items,
)
from mipo_bench.reports.statistics.sign_flip import sign_flip
from mipo_bench.reports.stats import (
    Comparison,
    Scores,
    benjamini_hochberg,
    compare,
    holm,
    summarize,
    win_rate,
)

FILE = TESTS / "cases" / "statistics.json"
CASES: dict[str, Any] = {case["id"]: case for case in json.loads(FILE.read_text())["cases"]}


def arm(values: Sequence[float]) -> Scores:
    return Scores.from_columns([f"item {i}" for i in range(len(values))], values)


def codes(found: Comparison) -> list[str]:
    return [caveat.code for caveat in found.warnings]


def wrong_answers(case: dict[str, Any]) -> Iterator[float]:
    yield from (value for value in case["must_not_equal"].values() if isinstance(value, float))


def test_mcnemar_on_published_data() -> None:
    case = CASES["C1_mcnemar_bentur"]
    a, b, expected = arm(case["input"]["a"]), arm(case["input"]["b"]), case["expected"]
    found = compare(a, b)
    assert found.test == "mcnemar-exact"
    assert (found.only_base, found.only_method) == (expected["only_a"], expected["only_b"])
    assert found.delta == pytest.approx(expected["delta"], abs=1e-6)
    assert found.p_value == pytest.approx(expected["p_exact"], abs=1e-6)
    assert found.p_midp == pytest.approx(expected["p_midp"], abs=1e-6)
    assert [found.ci_low, found.ci_high] == pytest.approx(expected["ci95_bonett_price"], abs=1e-6)
    for scores, wilson in ((a, expected["wilson_a"]), (b, expected["wilson_b"])):
        score = summarize(scores)
        assert score.method == "wilson"
        assert [score.ci_low, score.ci_high] == pytest.approx(wilson, abs=1e-6)
    assert all(found.p_value != pytest.approx(wrong, abs=1e-6) for wrong in wrong_answers(case))
    differences = ClusterSums(np.asarray([case["input"]["b"]], float) - case["input"]["a"], np.ones(21))
    p_flip = sign_flip(differences, 0.05).p_value
    assert p_flip == pytest.approx(expected["p_signflip_equals_exact"], abs=1e-6)


def test_midp_of_equal_counts() -> None:
    """Two items each way: 1 - C(4, 2) / 2^5 (Fagerland et al. 2013)."""
    found = compare(arm([0, 0, 1, 1, 1, 1]), arm([1, 1, 0, 0, 1, 1]))
    assert (found.p_value, found.p_midp) == pytest.approx((1, 1 - 6 / 32))


def test_identical_systems() -> None:
    case = CASES["C3_identical"]
    expected = case["expected"]
    found = compare(arm(case["input"]["a"]), arm(case["input"]["b"]))
    assert (found.delta, found.p_value) == (expected["delta"], expected["p"])
    assert codes(found) == ["identical"]
    assert [found.ci_low, found.ci_high] == pytest.approx(expected["ci95_bonett_price"], abs=1e-6)
    bound = discordance_upper(expected["n_discordant"], len(case["input"]["a"]))
    assert bound == pytest.approx(expected["discordance_upper95_one_sided"], abs=1e-6)


@pytest.mark.parametrize("n", [6, 12, 60, 300])
def test_no_smaller_difference_is_promised_than_signs_can_show(n: int) -> None:
    """Six items have to change for a p of .05: a larger share of 60 than their standard error asks for."""
    found = compare(arm([1.0] * n), arm([1.0] * n))
    least = least_found(n)
    assert least is not None
    assert stats.binom.sf(5, n, least) == pytest.approx(0.8)
    assert found.mde == max(least, mde(found.se or 0))
    assert least_found(5) is None
    of_many = least_found(5000, 1e-300)
    assert of_many is not None
    assert stats.binom.sf(min_nonzero_clusters(1e-300) - 1, 5000, of_many) == pytest.approx(0.8)
    assert compare(arm([1.0] * 5), arm([1.0] * 5)).mde is None


def test_identical_graded_scores() -> None:
    found = compare(arm([0.25, 0.5, 0.75]), arm([0.25, 0.5, 0.75]))
    assert (found.delta, found.p_value, found.ci_low, found.mde) == (0, 1, None, None)
    assert codes(found) == ["identical"]


@pytest.mark.parametrize("name", ["n10", "n5"])
@pytest.mark.parametrize("start", [0.0, 0.2, 0.3])
def test_constant_shift(name: str, start: float) -> None:
    case = CASES["C4_constant_shift"]
    shifts, expected = case["input"][name], case["expected"][name]
    found = compare(arm([start] * len(shifts)), arm([start + shift for shift in shifts]))
    flags = expected["flag"] if isinstance(expected["flag"], list) else [expected["flag"]]
    assert found.delta == pytest.approx(expected["delta"], abs=1e-6)
    assert found.p_value == expected["p"]
    assert (found.ci_low, found.ci_high) == (None, None)
    assert [code for code in codes(found) if code != "relative_undefined"] == flags
    assert found.min_attainable_p == expected.get("min_attainable_p", expected["p"])


def test_every_prompt_tied() -> None:
    case = CASES["C6b_all_ties"]
    expected = case["expected"]
    found = win_rate(case["input"]["order1"], case["input"]["order2"])
    assert (found.win_rate, found.p_value, found.kappa) == (
        expected["win_rate"],
        expected["p"],
        expected["kappa"],
    )
    assert [caveat.code for caveat in found.warnings] == [expected["verdict"]]


def test_multiplicity() -> None:
    case = CASES["C11_multiplicity"]
    given, expected, wrong = case["input"], case["expected"], case["must_not_equal"]
    assert holm(given["p"]) == pytest.approx(expected["holm"], abs=1e-6)
    assert benjamini_hochberg(given["p"]) == pytest.approx(expected["bh"], abs=1e-6)
    assert holm(given["p_unsorted"]) == pytest.approx(expected["holm_unsorted"], abs=1e-6)
    assert holm(given["p_unsorted"]) != pytest.approx(wrong["deepsig_1_2_8_bonferroni_correction_unsorted"])
    with_gap = holm(given["p_missing"])
    assert with_gap[1] is None
    assert [with_gap[0], with_gap[2]] == pytest.approx([0.03, 0.06])
    assert with_gap[0] != pytest.approx(wrong["holm_missing_dropped"][0])


def test_power() -> None:
    case = CASES["C14_mde_power"]
    given, expected, tolerance = case["input"], case["expected"], case["abs_tol"]
    se = given["sd_diff"] / math.sqrt(given["n"])
    deff = kish_design_effect(given["icc"], given["cluster_size"])
    assert mde(se) == pytest.approx(expected["mde_z"], abs=tolerance)
    assert mde(se, df=given["n"] - 1) == pytest.approx(expected["mde_t"], abs=tolerance)
    assert deff == pytest.approx(expected["deff"], abs=tolerance)
    assert mde(se * math.sqrt(deff)) == pytest.approx(expected["mde_z_clustered"], abs=tolerance)
    assert required_items(difference=0.03, between=1 / 9) == expected["n_miller_omega2_1_9_delta_03"]
    assert min_nonzero_clusters(0.05) == expected["min_nonzero_clusters_for_alpha_05"]
    assert min_nonzero_clusters(0.05, family=12) == expected["min_nonzero_clusters_for_holm_m12"]
