"""A failure names the stage of its own arm, and judging leaves the answered arms as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import FakeEngine, SilentDisplay
from made_judges import Letters, longer_wins, scripted
from worlds import follows, plan_of, words

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.core.pace import Pace, Work
from mipo_bench.harness.errors import ModelError, StageError
from mipo_bench.harness.judging.assign import AssignedJudge
from mipo_bench.harness.protocols import Arm, Request
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.stages.arm_stages import ArmCount, FailureLog
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.store.run_store import Store


def test_a_failure_names_the_stage_of_its_own_arm() -> None:
    failures = FailureLog(SilentDisplay())
    with failures.stages_of(Arm("task", "plain")) as outer:
        with outer.stage("pairs", "responses"):
            pass
        with failures.stages_of(Arm("task", "few-shot")) as inner, inner.stage("judging", "verdicts"):
            raise StageError("no verdict")
        raise StageError("no pairs")
    assert [(f.method, f.stage, f.message) for f in failures.records] == [
        ("few-shot", "judging", "no verdict"),
        ("plain", "pairs", "no pairs"),
    ]


def test_a_line_after_each_arm_that_took_work_says_how_many_are_left() -> None:
    now, display = [0.0], SilentDisplay()
    pace = Pace(lambda: now[0])
    pace.expect(Work(5), processes=1)
    count = ArmCount(display, 5, pace)
    for seconds, computed in ((60, True), (0, False), (100, True), (80, True), (80, True)):
        now[0] += seconds
        count.count(computed=computed)
    assert display.lines == [
        "4 of 5 trained arms left, about 4 min for these",
        "2 of 5 trained arms left, about 3 min for these",
        "1 of 5 trained arms left, about 80 s for these",
    ]


def test_an_arm_took_work_where_one_of_its_stages_did() -> None:
    failures = FailureLog(SilentDisplay())
    with failures.stages_of(Arm("task", "plain")) as stages:
        with stages.stage("pairs", "responses"):
            pass
        assert not stages.computed
        with stages.stage("training", "steps") as stage:
            stage.tick(1)
            raise StageError("diverged")
    assert stages.computed


def test_a_user_error_ends_the_run_and_is_no_failure() -> None:
    failures = FailureLog(SilentDisplay())
    with pytest.raises(ModelError), failures.stages_of(Arm("task", "plain")):
        raise ModelError("no such model")
    assert failures.records == []


def test_an_arm_that_cannot_be_judged_is_answered_and_not_reported(tmp_path: Path) -> None:
    def judge(request: Request) -> str:
        if judged:
            raise OSError("the judge has gone")
        judged.append(request)
        return longer_wins(request)

    judged: list[Request] = []
    config, task = load_config(None, [], {"recipes": []}), Letters()
    context = RunContext(config, plan_of(config, task), Store(tmp_path), FakeEngine(words, follows), SilentDisplay())
    run = Run(context, {task.name: AssignedJudge(scripted(judge)[0], "model")})
    report = run.execute()
    lost = {failure.method for failure in report.failures}
    assert lost
    assert [answers.arm for answers in run.evaluated] == list(context.plan.arms)
    assert [a.arm.method for a in run.reported] == [arm.method for arm in report.arms]
    assert not lost & {arm.method for arm in report.arms}
