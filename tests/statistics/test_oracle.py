"""The statistics agree with statsmodels, if it has the same estimator with the same definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from scipy import stats as sps
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.regression.linear_model import WLS
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.multitest import multipletests

from mipo_bench.reports.statistics.records import Floats
from mipo_bench.reports.statistics.verdicts.agreement import agreement
from mipo_bench.reports.statistics.verdicts.length_control import length_controlled
from mipo_bench.reports.stats import Scores, benjamini_hochberg, compare, holm, summarize

SEEDS = range(5)


def users_of(rng: np.random.Generator, items: int, users: int) -> list[str]:
    """Clusters of unequal sizes; every user has at least one item."""
    drawn = np.concatenate([np.arange(users), rng.integers(0, users, items - users)])
    return [f"user {u:02d}" for u in drawn]


def scores(values: Floats, users: list[str] | None = None) -> Scores:
    return Scores.from_columns([f"item {i:03d}" for i in range(len(values))], values.tolist(), users)


def groups(users: list[str]) -> list[int]:
    return [int(user[-2:]) for user in users]


@pytest.mark.parametrize("seed", SEEDS)
def test_adjusted_p_values(seed: int) -> None:
    p = np.random.default_rng(seed).random(12).round(2) ** 2
    p[3] = p[7]  # ties
    assert holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1])
    assert benjamini_hochberg(p.tolist()) == pytest.approx(multipletests(p, method="fdr_bh")[1])


@pytest.mark.parametrize("seed", SEEDS)
def test_exact_mcnemar(seed: int) -> None:
    rng = np.random.default_rng(seed)
    base, method = ((rng.random(60) < share).astype(float) for share in (0.5, 0.65))
    table = [[int(((base == a) & (method == b)).sum()) for b in (1, 0)] for a in (1, 0)]
    assert compare(scores(base), scores(method)).p_value == pytest.approx(mcnemar(table, exact=True).pvalue)


@pytest.mark.parametrize("seed", SEEDS)
def test_kappa_of_independent_items(seed: int) -> None:
    """statsmodels divides by n and uses a normal quantile; `agreement` uses CR1 and a t quantile."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 3, 80)
    second = np.where(rng.random(80) < 0.6, first, rng.integers(0, 3, 80))
    table = np.zeros((3, 3))
    np.add.at(table, (first, second), 1)
    known = cohens_kappa(table)
    found = agreement(first.tolist(), second.tolist(), [str(i) for i in range(80)])
    assert found.kappa == pytest.approx(known.kappa)
    assert found.ci_low is not None
    assert found.ci_high is not None
    half = sps.t.ppf(0.975, 79) * known.std_kappa * np.sqrt(80 / 79)
    assert (found.ci_high - found.ci_low) / 2 == pytest.approx(half)


@pytest.mark.parametrize("weight", ["micro", "macro"])
@pytest.mark.parametrize("seed", SEEDS)
def test_cluster_robust_standard_error(seed: int, weight: str) -> None:
    """A mean is least squares on a constant, clustered by user; for macro, weights make all users count alike."""
    rng = np.random.default_rng(seed)
    users = users_of(rng, 120, 20)
    place = groups(users)
    base, method = (np.clip(rng.random(120) + 0.3 * rng.random(20)[place], 0, 1) for _ in range(2))
    share = np.ones(120) if weight == "micro" else 1 / np.bincount(place)[place]
    found = compare(scores(base, users), scores(method, users), weight=weight)  # type: ignore[arg-type]
    known = WLS(method - base, np.ones(120), weights=share).fit(cov_type="cluster", cov_kwds={"groups": place})
    assert found.delta == pytest.approx(known.params[0])
    assert found.se == pytest.approx(known.bse[0])
    score = summarize(scores(base, users), weight=weight)  # type: ignore[arg-type]
    alone = WLS(base, np.ones(120), weights=share).fit(
        cov_type="cluster", cov_kwds={"groups": place}, use_t=True
    )  # t with as many degrees of freedom as clusters less one
    assert (score.ci_low, score.ci_high) == pytest.approx(tuple(alone.conf_int()[0]))


@pytest.mark.filterwarnings("ignore:cov_type not fully supported with var_weights")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_length_controlled_win_rate(seed: int, weighted: bool) -> None:
    """The logit of fractional wins on the scaled length difference; statsmodels' CR1 has a factor (n - 1) / (n - 2)."""
    rng = np.random.default_rng(seed)
    users = users_of(rng, 150, 25)
    place = groups(users)
    length = rng.normal(10, 40, 150)
    worth = rng.binomial(4, special.expit(0.3 + 0.02 * length + 0.5 * rng.normal(size=25)[place])) / 4
    share = 1 / np.bincount(place)[place] if weighted else np.ones(150)
    x = np.column_stack([np.ones(150), np.tanh(length / length.std())])
    known = GLM(worth, x, family=Binomial(), var_weights=share).fit(cov_type="cluster", cov_kwds={"groups": place})
    found = length_controlled(worth.tolist(), length.tolist(), users, share.tolist())
    assert found.win_rate == pytest.approx(special.expit(known.params[0]))
    assert found.slope == pytest.approx(known.params[1])
    assert found.ci_low is not None
    assert found.ci_high is not None
    half = sps.t.ppf(0.975, 24) * known.bse[0] * np.sqrt(148 / 149)
    ends = special.expit(known.params[0] + half * np.array([-1, 1]))
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(ends), rel=1e-5)
