"""The pages of a judged task and of the shuffled-profile control in a report."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from golden_files import check_golden, run
from made_reports import Made

from mipo_bench.reports.analysis.comparisons import ComparisonPlan, comparisons, estimates
from mipo_bench.reports.analysis.judges import ArmVerdicts, BothOrders, consistency, judged_arm
from mipo_bench.reports.analysis.shuffled_control import ShuffledScores, controls
from mipo_bench.reports.pages.report import report_page
from mipo_bench.reports.records.base import CaveatRecord
from mipo_bench.reports.records.judges import JudgeRecord, ValidationRecord
from mipo_bench.reports.records.report import ArmRecord, Report
from mipo_bench.reports.records.report_file import parse_report, seal, to_json
from mipo_bench.reports.stats import WEIGHTS

METHODS = ("no-context", "profile (A/A)", "mipo-random")
VALIDATION = ValidationRecord(
    labels="prism",
    n_items=200,
    n_clusters=90,
    kappa=0.41,
    kappa_low=0.28,
    kappa_high=0.54,
    accuracy=0.71,
    accuracy_low=0.65,
    accuracy_high=0.77,
)


def judged(arms: list[ArmRecord]) -> list[ArmRecord]:
    """The arms with scores that verdicts can give; the reference scores 1/2."""
    rng = random.Random("verdicts")
    return [
        a.model_copy(
            update={
                "scores": [0.5 if a.method == "profile" else rng.choice([0, 0.25, 0.5, 0.75, 1, 1]) for _ in a.scores],
            }
        )
        for a in arms
    ]


def verdicts(arms: list[ArmRecord], undecided: int = 0) -> ArmVerdicts:
    """Verdicts in both orders that give these scores; every second tie is a win in one order, a loss in the other."""
    orders = {1.0: (1.0, 1.0), 0.75: (0.5, 1.0), 0.25: (0.0, 0.5), 0.0: (0.0, 0.0)}
    scores = [score for arm in arms for score in arm.scores]
    return ArmVerdicts([orders.get(s, (1.0, 0.0) if n % 2 else (0.5, 0.5)) for n, s in enumerate(scores)], undecided)


def judge(report: Report, arms: list[ArmRecord], warnings: list[CaveatRecord]) -> JudgeRecord:
    rng = random.Random("orders")
    task = report.tasks[0]
    orders = [
        BothOrders(str(user), rng.choice([1, 1, 0.5, 0, None]), rng.choice([1, 0.5, 0])) for user in task.users or ()
    ]
    reference = next(a for a in arms if a.method == "profile")
    groups = {m: [a for a in arms if a.method == m] for m in METHODS}
    return JudgeRecord(
        task=task.name,
        name="Qwen/Qwen2.5-14B-Instruct",
        kind="server",
        digest="j" * 64,
        protocol="pairwise",
        temperature=0.1,
        top_p=0.9,
        calls=1200,
        settled=36,
        retries=7,
        unread=3,
        consistency=consistency(orders, [True] * 46 + [False] * 4, 0.05),
        validation=VALIDATION if not warnings else None,
        arms=[judged_arm(task, g, reference, verdicts(g, n), "micro", 0.05) for n, g in enumerate(groups.values())],
        warnings=warnings,
    )


def made(*, validated: bool = False) -> Report:
    report = Made(suites=("personalized",)).report()
    arms = judged(report.arms)
    rng = random.Random("strangers")
    held = [ShuffledScores(a, [round(s * rng.random(), 3) for s in a.scores]) for a in report.arms]
    warnings = [
        CaveatRecord(code="judge_family", message="judge and judged model share a family name (qwen)"),
        CaveatRecord(code="judge_not_validated", message="judge not validated"),
        CaveatRecord(code="verdicts_unread", message="3 of 1200 verdicts could not be read and count as ties"),
    ]
    record = judge(report, arms, [] if validated else warnings)
    planned = dict.fromkeys((a.task, a.method, a.recipe is not None) for a in arms)
    declared = ComparisonPlan("micro", 0.05, tuple(planned), 3)
    found = {
        "arms": arms,
        "judges": [record],
        "controls": controls(report.tasks, held, declared),
        "estimates": estimates(report.tasks, arms, declared),
        "comparisons": comparisons(report.tasks, arms, declared),
    }
    return seal(report.model_copy(update=found))


@pytest.mark.parametrize(("name", "validated"), [("plain", False), ("validated", True)])
def test_what_a_judged_report_looks_like(
    name: str, validated: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "report.json").write_text(to_json(made(validated=validated)))
    check_golden(f"judged/{name}.txt", run("show .", capsys).text("show ."))


def test_judges_and_controls_survive_the_file() -> None:
    report = made()
    assert parse_report(to_json(report), "made") == report


def test_a_report_without_judges_says_nothing_of_them() -> None:
    laid_out = report_page(Made().report())
    assert not any("judge" in line for line in laid_out.head)
    assert not any("judge" in grid.title or "shuffled" in grid.title for s in laid_out.sections for grid in s.tables)


def test_the_stamp_stands_at_the_head_until_the_judge_is_validated() -> None:
    assert "! persona: judge not validated" in report_page(made()).head
    assert not any("judge" in line for line in report_page(made(validated=True)).head)


def test_verdicts_weigh_users_equally_where_the_run_does() -> None:
    report = made()
    task, arms = report.tasks[0], [a for a in report.arms if a.method == "mipo-random"]
    reference = next(a for a in report.arms if a.method == "profile")
    users = task.users or []
    kept = [n for n, user in enumerate(users) if user != users[0] or n == 0]
    uneven = task.model_copy(
        update={
            "items": [task.items[n] for n in kept],
            "users": [users[n] for n in kept],
        }
    )
    cut = [
        a.model_copy(update={"scores": [a.scores[n] for n in kept], "n_tokens": [a.n_tokens[n] for n in kept]})
        for a in [*arms, reference]
    ]
    own = cut[0]
    by_user: dict[str, list[float]] = {}
    for user, score in zip(uneven.users or [], own.scores, strict=True):
        by_user.setdefault(user, []).append(score)
    expected = sum(sum(v) / len(v) for v in by_user.values()) / len(by_user)
    plain = [c.model_copy(update={"parts": {}}) for c in (own, cut[-1])]
    macro, micro = (judged_arm(uneven, plain[:1], plain[1], verdicts(plain[:1]), w, 0.05) for w in WEIGHTS[::-1])
    assert macro.win_rate == pytest.approx(expected)
    assert macro.win_rate != pytest.approx(micro.win_rate)
