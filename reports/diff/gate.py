"""Whether a diff lets a commit pass, as an exit code and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mipo_bench.reports.diff.records import ArmDiff, ReportDiff
from mipo_bench.reports.numbers import p_text, signed

PASSED, REGRESSION, INCONCLUSIVE, NOT_COMPARABLE = 0, 1, 3, 4
WORDS = {PASSED: "passed", REGRESSION: "regression", INCONCLUSIVE: "inconclusive", NOT_COMPARABLE: "not comparable"}


@dataclass(frozen=True, slots=True)
class Gate:
    """`regression` fails on a significant loss beyond the margin; `noninferior` asks for proof of no such loss."""

    kind: Literal["regression", "noninferior"]
    margins: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GateResult:
    """The exit code and, for each arm that decided it, why."""

    code: int
    reasons: tuple[str, ...]


def is_regression(arm: ArmDiff, alpha: float, margin: float = 0.0) -> bool:
    """A loss that is significant in Holm's family and larger than the margin."""
    c = arm.comparison
    return c is not None and arm.p_holm is not None and arm.p_holm < alpha and c.delta < -margin


def apply_gate(diff: ReportDiff, gate: Gate) -> GateResult:
    """The worst finding decides: a regression, then what cannot be compared, then what is not proven.

    Each arm must pass, and that needs no correction of the non-inferiority tests for their number: all of them have
    to succeed (an intersection-union test). An arm that B has lost cannot pass.
    """
    worse = [a for a in diff.tested if is_regression(a, diff.alpha, gate.margins.get(a.task, 0.0))]
    if worse:
        return GateResult(REGRESSION, tuple(_loss(arm) for arm in worse))
    lost = [_lost(arm) for arm in diff.arms if arm.state in ("not comparable", "removed")]
    lost += [f"{task}: only in A" for task in diff.only_a]
    lost += [f"{arm.name}: {_untestable(arm)}" for arm in diff.tested if arm.p_holm is None]
    if lost or not diff.tested:
        return GateResult(NOT_COMPARABLE, tuple(lost) or ("no arm could be tested",))
    if gate.kind == "noninferior":
        open_ = [arm for arm in diff.tested if not (arm.comparison and arm.comparison.noninferior)]
        if open_:
            return GateResult(INCONCLUSIVE, tuple(_unproven(arm, gate.margins[arm.task]) for arm in open_))
    return GateResult(PASSED, ())


def _loss(arm: ArmDiff) -> str:
    assert arm.comparison is not None
    return f"{arm.name}: {signed(arm.comparison.delta)}, Holm-adjusted p {p_text(arm.p_holm)}"


def _lost(arm: ArmDiff) -> str:
    return f"{arm.name}: {arm.reason}"


def _untestable(arm: ArmDiff) -> str:
    return arm.warnings[0] if arm.warnings else "untestable"


def _unproven(arm: ArmDiff, margin: float) -> str:
    assert arm.comparison is not None
    c = arm.comparison
    return f"{arm.name}: {signed(c.delta)}, a loss of {margin:g} is not ruled out (p {p_text(c.p_noninferiority)})"
