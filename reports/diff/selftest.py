"""Checks on a user's own report that the gate fails when it must: regressions are injected into copies.

`mipo-bench diff --selftest` prints the result.
"""

from __future__ import annotations

from dataclasses import dataclass

from mipo_bench.harness.errors import NotComparableError
from mipo_bench.reports.diff.diff_reports import diff_reports, is_wanted
from mipo_bench.reports.diff.gate import (
    INCONCLUSIVE,
    NOT_COMPARABLE,
    PASSED,
    REGRESSION,
    WORDS,
    Gate,
    GateKind,
    apply_gate,
)
from mipo_bench.reports.diff.records import DiffOptions, Side
from mipo_bench.reports.numbers import p_text, signed
from mipo_bench.reports.pages.page import Page, Section, Table
from mipo_bench.reports.records.report import ArmRecord, Report

_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class SelftestCheck:
    """One injected change and the gate's exit code. `expected` is None if the result is for information only."""

    change: str
    delta: float | None
    p_holm: float | None
    expected: int | None
    got: int

    @property
    def passed(self) -> bool:
        """Whether the gate gave the expected exit code."""
        return self.expected in (None, self.got) or (self.expected, self.got) == (REGRESSION, INCONCLUSIVE)


@dataclass(frozen=True, slots=True)
class Selftest:
    """The injected changes of one arm and their results."""

    arm: str
    gate: GateKind
    checks: tuple[SelftestCheck, ...]

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(check.passed for check in self.checks)


def selftest(side: Side, gate: Gate, arms: tuple[str, ...]) -> Selftest:
    """Run the checks: no change must pass, a total loss of one arm must fail, another scorer must be refused.

    Raises NotComparableError where there is no arm to lower.
    """
    target = _target(side.report, arms)
    name = f"{target.task}/{target.method}"
    options = DiffOptions(gate.margins, arms)
    checks = [_check("none", side, side.report, (gate, options, name), PASSED)]
    for share in _SHARES:
        changed = _lower(side.report, target, share)
        expected = REGRESSION if share == 1 else None
        checks.append(_check(f"{share:.0%} of its score", side, changed, (gate, options, name), expected))
    other = _other_scorer(side.report, target.task)
    checks.append(_check("another scorer", side, other, (gate, options, name), NOT_COMPARABLE))
    return Selftest(name, gate.kind, tuple(checks))


def _target(report: Report, patterns: tuple[str, ...]) -> ArmRecord:
    """The arm with the highest score among those that are compared. Raises NotComparableError if all score 0."""
    arms = [arm for arm in report.arms if not arm.noise and is_wanted(f"{arm.task}/{arm.method}", patterns)]
    if not arms:
        raise NotComparableError(f"no arm of this report matches {', '.join(patterns)}; arms are named TASK/METHOD.")
    arms = [arm for arm in arms if sum(arm.scores) > 0]
    if not arms:
        raise NotComparableError("none of these arms scores above 0, so that no loss can be injected.")
    return max(arms, key=lambda arm: sum(arm.scores) / len(arm.scores))


def _lower(report: Report, target: ArmRecord, share: float) -> Report:
    """A copy in which the method scores 0 on this share of its items with a score, spread evenly, under every seed."""
    changed = []
    for arm in report.arms:
        if (arm.task, arm.method) != (target.task, target.method):
            changed.append(arm)
            continue
        positive = [n for n, score in enumerate(arm.scores) if score > 0]
        lost = {positive[int(k / share)] for k in range(int(len(positive) * share))}
        scores = [0.0 if n in lost else score for n, score in enumerate(arm.scores)]
        changed.append(arm.model_copy(update={"scores": scores}))
    return report.model_copy(update={"arms": changed})


def _other_scorer(report: Report, task: str) -> Report:
    tasks = [t.model_copy(update={"scorer_hash": "injected"}) if t.name == task else t for t in report.tasks]
    return report.model_copy(update={"tasks": tasks})


def _check(
    change: str, side: Side, changed: Report, how: tuple[Gate, DiffOptions, str], expected: int | None
) -> SelftestCheck:
    gate, options, name = how
    found = diff_reports(side, Side(changed, "copy"), options)
    arm = next((arm for arm in found.tested if arm.name == name), None)
    delta = arm.comparison.delta if arm and arm.comparison else None
    return SelftestCheck(change, delta, arm.p_holm if arm else None, expected, apply_gate(found, gate).code)


def selftest_page(side: Side, found: Selftest) -> Page:
    """The checks as a table, and the conclusion."""
    rows = tuple(
        (
            c.change,
            signed(c.delta),
            p_text(c.p_holm),
            f"{c.got} {WORDS[c.got]}",
            "-" if c.expected is None else ("ok" if c.passed else f"WRONG, not {c.expected}"),
        )
        for c in found.checks
    )
    columns = ("injected loss", "delta", "Holm", "gate", "as expected")
    grid = Table(f"losses of {found.arm} in copies of the report", columns, rows)
    caught = [c for c in found.checks[1:] if c.got in (REGRESSION, INCONCLUSIVE)]
    answers = []
    if caught:
        least = f"the gate catches a loss of {signed(caught[0].delta)} and larger ones where nothing else changes"
        answers.append(f"{least}; items that change by chance between two runs can hide it")
    if not found.passed:
        answers.append("the gate does not work on this report: too few items, or too many arms for them")
    else:
        answers.append("the gate passes an unchanged report, fails on a loss, and refuses another scorer")
    section = Section(f"gate {found.gate}", (grid,))
    return Page("mipo-bench diff --selftest", (f"report {side.title}",), (section,), conclusions=tuple(answers))
