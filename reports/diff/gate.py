"""Decides whether a diff passes the gate: an exit code, and the reasons in words.

`mipo-bench diff --gate` uses it in CI.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mipo_bench.reports.diff.records import ArmDiff, ReportDiff
from mipo_bench.reports.numbers import p_text, signed

GateKind = Literal["regression", "noninferior"]
PASSED, REGRESSION, INCONCLUSIVE, NOT_COMPARABLE = 0, 1, 3, 4
WORDS = {PASSED: "passed", REGRESSION: "regression", INCONCLUSIVE: "inconclusive", NOT_COMPARABLE: "not comparable"}


@dataclass(frozen=True, slots=True)
class Gate:
    """`regression` fails on a significant loss beyond the margin, `noninferior` unless such a loss is ruled out."""

    kind: GateKind
    margins: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GateResult:
    """The exit code, and one reason for each arm that decided it."""

    code: int
    reasons: tuple[str, ...]
    earlier_failures: tuple[str, ...] = ()
    """Where it passed: the ids of earlier runs of the same code that failed it, against the same A (`retries`)."""


def is_regression(arm: ArmDiff, alpha: float, margin: float = 0.0) -> bool:
    """Whether an arm has a loss that is significant after Holm's adjustment and larger than the margin."""
    c = arm.comparison
    return c is not None and arm.p_holm is not None and arm.p_holm < alpha and c.delta < -margin


def apply_gate(diff: ReportDiff, gate: Gate) -> GateResult:
    """Apply a gate. The worst finding decides: a regression, then an arm not comparable, then one not proven.

    The non-inferiority tests need no correction for their number, because every arm must pass (an intersection-union
    test). An arm that B lacks cannot pass.
    """
    regressed = [a for a in diff.tested if is_regression(a, diff.alpha, gate.margins.get(a.task, 0.0))]
    if regressed:
        return GateResult(REGRESSION, tuple(_loss(arm) for arm in regressed))
    untested = [_reason(arm) for arm in diff.arms if arm.state in ("not comparable", "removed")]
    untested += [f"{task}: only in A" for task in diff.only_a]
    untested += [f"{arm.name}: {_untestable(arm)}" for arm in diff.tested if arm.p_holm is None]
    if untested or not diff.tested:
        return GateResult(NOT_COMPARABLE, tuple(untested) or ("no arm could be tested",))
    if gate.kind == "noninferior":
        unproven = [arm for arm in diff.tested if not (arm.comparison and arm.comparison.noninferior)]
        if unproven:
            return GateResult(INCONCLUSIVE, tuple(_unproven(arm, gate.margins[arm.task]) for arm in unproven))
    return GateResult(PASSED, ())


def _loss(arm: ArmDiff) -> str:
    assert arm.comparison is not None
    return f"{arm.name}: {signed(arm.comparison.delta)}, Holm-adjusted p {p_text(arm.p_holm)}"


def _reason(arm: ArmDiff) -> str:
    return f"{arm.name}: {arm.reason}"


def _untestable(arm: ArmDiff) -> str:
    return arm.warnings[0] if arm.warnings else "untestable"


def _unproven(arm: ArmDiff, margin: float) -> str:
    assert arm.comparison is not None
    c = arm.comparison
    return f"{arm.name}: {signed(c.delta)}, a loss of {margin:g} is not ruled out (p {p_text(c.p_noninferiority)})"
