"""Training curves: the last quarter of the steps, and the drift of the chosen responses."""

from __future__ import annotations

from typing import Any

import pytest

from mipo_bench.reports.analysis.training_curve import TrainingCurve, mean_drift, training_curve
from mipo_bench.reports.records.report import CheckpointRecord


def checkpoint(seed: int, points: list[dict[str, float]], **lineage: Any) -> CheckpointRecord:
    lineage = {"curve": points, **lineage}
    return CheckpointRecord(task="t", recipe="r", train_seed=seed, digest="d", lineage=lineage)


def dpo(nats: float, log_probability: float | None = -100.0) -> list[dict[str, float]]:
    """One step of DPO with beta .1; the chosen responses had `log_probability` before training."""
    after = {} if log_probability is None else {"logp_chosen": log_probability + nats}
    return [{"step": 1, "loss": 0.5, "reward_chosen": 0.1 * nats, **after}]


def test_the_end_is_the_mean_over_the_last_quarter_of_the_steps() -> None:
    curve = TrainingCurve([{"step": n, "loss": float(n)} for n in range(1, 9)])
    assert curve.first("loss") == 1
    assert curve.final("loss") == 7.5
    assert curve.final("reward") is None
    assert curve.values("loss")[-1] == (8, 8)
    assert curve.summary() == "loss 1.000 to 7.500 in 8 steps"


def test_a_curve_of_fewer_than_four_steps_ends_with_its_last() -> None:
    assert TrainingCurve([{"step": n, "loss": float(n)} for n in (1, 2, 3)]).final("loss") == 3


def test_a_reward_is_told_rather_than_the_loss() -> None:
    points = [{"step": n, "loss": 0.0, "reward": 0.25 * n} for n in (1, 2)]
    assert TrainingCurve(points).summary() == "reward .250 to .500 in 2 steps"


def test_drift_is_in_nats_and_over_the_size_before_training() -> None:
    drift = TrainingCurve(dpo(-12), beta=0.1).drift()
    assert drift is not None
    assert (drift.nats, drift.share) == pytest.approx((-12, -0.12))


def test_drift_without_log_probabilities_has_no_share() -> None:
    drift = TrainingCurve(dpo(-12, None), beta=0.1).drift()
    assert drift is not None
    assert drift.nats == pytest.approx(-12)
    assert drift.share is None


@pytest.mark.parametrize(("points", "beta"), [([], 0.1), (dpo(-12), None), ([{"step": 1, "loss": 0.5}], 0.1)])
def test_without_rewards_or_beta_there_is_no_drift(points: list[dict[str, float]], beta: float | None) -> None:
    assert TrainingCurve(points, beta).drift() is None


def test_the_drift_of_a_recipe_is_the_mean_over_its_seeds() -> None:
    settings = {"beta": 0.1}
    found = mean_drift([checkpoint(0, dpo(-10), settings=settings), checkpoint(1, dpo(-30), settings=settings)])
    assert found is not None
    assert (found.nats, found.share) == pytest.approx((-20, -0.2))
    assert mean_drift([checkpoint(0, dpo(-10))]) is None


def test_a_lineage_without_a_curve_has_no_points() -> None:
    curve = training_curve(checkpoint(0, []))
    assert (curve.points, curve.beta, curve.first("loss"), curve.final("loss"), curve.summary()) == (
        [],
        None,
        None,
        None,
        "",
    )
