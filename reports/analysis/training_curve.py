"""Training curves: the metrics of each step, their mean at the end, and the drift of the chosen responses.

`below_base` finds a trained method that ends below the model it started from; `below_base_warning` is its one wording
for tables, guards and comparisons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipo_bench.reports.numbers import p_text, signed, unsigned
from mipo_bench.reports.records.report import CheckpointRecord, ComparisonRecord


@dataclass(frozen=True, slots=True)
class Drift:
    """Change of the log-probability of the chosen responses in training.

    `nats` is the change for one response; `share` is `nats` over the size before training, None if that is unknown.
    """

    nats: float
    share: float | None


@dataclass(frozen=True, slots=True)
class TrainingCurve:
    """The metrics of one training: a point for each step, with `step` and `loss` among its keys.

    `beta` is DPO's beta, the factor of its rewards.
    """

    points: Sequence[Mapping[str, float]]
    beta: float | None = None

    def values(self, metric: str) -> list[tuple[float, float]]:
        """(step, value) of each step that has the metric."""
        return [(float(p["step"]), float(p[metric])) for p in self.points if p.get(metric) is not None and "step" in p]

    def first(self, metric: str) -> float | None:
        """The metric at the first step that has it."""
        return next((float(p[metric]) for p in self.points if p.get(metric) is not None), None)

    def final(self, metric: str) -> float | None:
        """The mean over the last quarter of the steps; None if none of them has the metric."""
        return _mean(p[metric] for p in self._last_quarter() if p.get(metric) is not None)

    def drift(self) -> Drift | None:
        """The drift at the end of training; None without rewards of the chosen responses or without beta.

        DPO's reward is beta * (log p(policy) - log p(reference)). Divided by beta it is the change from the reference
        on the batch of that step, so that each batch is compared with itself.
        """
        reward = self.final("reward_chosen")
        if reward is None or not self.beta:
            return None
        nats, log_probability = reward / self.beta, self.final("logp_chosen")
        before = 0.0 if log_probability is None else abs(log_probability - nats)
        return Drift(nats, nats / before if before else None)

    def summary(self) -> str:
        """First and final reward (or loss, if there is no reward) in words; empty without a curve."""
        metric = "reward" if self.first("reward") is not None else "loss"
        first, final = self.first(metric), self.final(metric)
        if first is None or final is None:
            return ""
        return f"{metric} {unsigned(first)} to {unsigned(final)} in {len(self.points)} steps"

    def _last_quarter(self) -> Sequence[Mapping[str, float]]:
        return self.points[-max(1, len(self.points) // 4) :]


def training_curve(checkpoint: CheckpointRecord) -> TrainingCurve:
    """The curve in a checkpoint's lineage; without points if the lineage has none."""
    lineage: Mapping[str, Any] = checkpoint.lineage
    return TrainingCurve(lineage.get("curve") or [], lineage.get("settings", {}).get("beta"))


def mean_drift(checkpoints: Iterable[CheckpointRecord]) -> Drift | None:
    """The drift of a recipe: the mean over its training seeds; None if no training has one."""
    found = [drift for c in checkpoints if (drift := training_curve(c).drift())]
    nats = _mean(drift.nats for drift in found)
    share = _mean(drift.share for drift in found if drift.share is not None)
    return None if nats is None else Drift(nats, share)


def below_base(
    comparisons: Iterable[ComparisonRecord], task: str, method: str, reference: str
) -> ComparisonRecord | None:
    """The comparison of a trained method with the reference prompt on the base model, if the method scores lower."""
    for c in comparisons:
        is_own = (c.task, c.method, c.base) == (task, method, reference) and c.family != "noise"
        if is_own and c.delta is not None and c.delta < 0:
            return c
    return None


def below_base_warning(below: ComparisonRecord, checkpoints: Iterable[CheckpointRecord], alpha: float) -> str:
    """The warning about a method that `below_base` found, with a summary of its training under each seed."""
    significant = below.p_adjusted is not None and below.p_adjusted < alpha
    courses = [training_curve(c).summary() for c in checkpoints if (c.task, c.recipe) == (below.task, below.method)]
    training = "; ".join(course for course in courses if course)
    return (
        f"{below.method} ends {'below' if significant else 'no higher than'} the base model"
        f" ({signed(below.delta)} to {below.base}, adjusted p {p_text(below.p_adjusted)}): beating it shows little"
    ) + (f". Its training: {training}" if training else "")


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None
