"""The diff of two reports: matching of items and seeds, differences, and gates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_reports import BASE, WORSE, Made, first_items_changed, moved_users, with_tasks, without

from mipo_bench.harness.errors import NotComparableError
from mipo_bench.reports.diff.diff_reports import diff_reports
from mipo_bench.reports.diff.environment import environment_notes
from mipo_bench.reports.diff.gate import Gate, apply_gate
from mipo_bench.reports.diff.records import ArmDiff, DiffOptions, ReportDiff, Side
from mipo_bench.reports.records.report import Report, TaskRecord


def diffed(a: Report, b: Report, **options: Any) -> ReportDiff:
    return diff_reports(Side(a, "A"), Side(b, "B"), DiffOptions(**options))


def arm_of(diff: ReportDiff, name: str) -> ArmDiff:
    return next(arm for arm in diff.arms if arm.name == name)


def test_only_matching_items_are_tested_in_whatever_order() -> None:
    a, b = BASE.report(), first_items_changed(WORSE.report())
    diff = diffed(a, b)
    task = diff.tasks[0]
    assert task.n_matching == 60 - 4
    assert (task.added, task.removed) == (("arithmetic-new",), ("arithmetic-059",))
    assert [(c.item, c.what) for c in task.changed] == [
        ("arithmetic-000", "prompt"),
        ("arithmetic-001", "prompt and target"),
        ("arithmetic-002", "target"),
    ]
    found = arm_of(diff, "arithmetic/plain").comparison
    left, right = (np.asarray(r.group("arithmetic", "plain")[0].scores)[3:59] for r in (a, b))
    assert found
    assert found.delta == pytest.approx(float(np.mean(right - left)))
    assert found.n_items == 56

    def backwards(task: TaskRecord) -> TaskRecord:
        lists = ("items", "users", "prompt_hashes", "target_hashes")
        values = {name: getattr(task, name) for name in lists}
        return task.model_copy(update={name: v and v[::-1] for name, v in values.items()})

    turned = with_tasks(b, backwards)
    arms = [arm.model_copy(update={"scores": arm.scores[::-1]}) for arm in turned.arms]
    again = diffed(a, turned.model_copy(update={"arms": arms}))
    assert again.arms == diff.arms


def test_swapping_the_sides_turns_every_sign() -> None:
    there, back = diffed(BASE.report(), WORSE.report()), diffed(WORSE.report(), BASE.report())
    for left, right in zip(there.arms, back.arms, strict=True):
        assert left.comparison
        assert right.comparison
        assert left.comparison.delta == pytest.approx(-right.comparison.delta)
        assert left.p_holm == pytest.approx(right.p_holm, abs=0.01)
        assert [c.item for c in left.regressed] == [c.item for c in right.improved]


def test_shared_training_seeds_are_paired_and_the_others_named() -> None:
    diff = diffed(BASE.report(), replace(BASE, train_seeds=(2, 1, 7)).report())
    arm = arm_of(diff, "persona/mipo-random")
    assert arm.comparison
    assert arm.comparison.n_seeds == 2
    assert arm.comparison.delta == 0
    assert "training seeds on one side only, left out: 0, 7" in arm.warnings


def test_one_item_is_untestable_and_no_gate_passes_it() -> None:
    made = replace(BASE, n_math=1, suites=("math",), train_seeds=())
    diff = diffed(made.report(), made.report())
    assert all(arm.p_holm is None for arm in diff.arms)
    assert apply_gate(diff, Gate("regression")).code == 4


def test_a_regression_decides_before_what_cannot_be_compared() -> None:
    b = with_tasks(WORSE.report(), lambda t: t.model_copy(update={"scorer_hash": "new"}) if t.name == "persona" else t)
    assert apply_gate(diffed(BASE.report(), b), Gate("regression")).code == 1


def test_an_arm_or_task_that_is_new_passes() -> None:
    less = without(replace(BASE, suites=("math",)).report(), "few-shot")
    assert apply_gate(diffed(less, BASE.report()), Gate("regression")).code == 0
    assert apply_gate(diffed(BASE.report(), replace(BASE, suites=("math",)).report()), Gate("regression")).code == 4


def test_a_noise_twin_is_no_arm() -> None:
    assert not any("A/A" in arm.method for arm in diffed(BASE.report(), BASE.report()).arms)


def test_the_gate_holds_its_error_rate_on_null_reports() -> None:
    """Holm at 5%: of 60 pairs that differ by noise alone at most 8 may fail (one in 200 by chance)."""
    a = replace(BASE, suites=("personalized",), train_seeds=()).report()
    failed = sum(apply_gate(diffed(a, with_noise(a, seed)), Gate("regression")).code == 1 for seed in range(60))
    assert failed <= 8


def with_noise(report: Report, seed: int) -> Report:
    rng = np.random.default_rng(seed)
    arms = []
    for arm in report.arms:
        moved = np.clip(np.asarray(arm.scores) + rng.normal(0, 0.05, len(arm.scores)), 0, 1)
        arms.append(arm.model_copy(update={"scores": moved.tolist()}))
    return report.model_copy(update={"arms": arms})


def test_different_users_name_the_item() -> None:
    with pytest.raises(NotComparableError, match=r"item 'persona-002' .* 'user-00' in A and to 'user-01'"):
        diffed(BASE.report(), moved_users(BASE.report()))


def test_how_many_processes_shared_a_run_is_no_difference() -> None:
    one = Made(n_math=4, n_users=2).report()
    other = one.model_copy(update={"config": {**one.config, "processes": 2, "threads": 1}})
    assert environment_notes(one, other) == ()
    changed = one.model_copy(update={"config": {**one.config, "average": "macro"}})
    assert len(environment_notes(one, changed)) == 1
