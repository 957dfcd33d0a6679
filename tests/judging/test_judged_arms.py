"""Judging as a stage of a run: questions, stored verdicts, scores, and records of the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeEngine, SilentDisplay
from made_judges import Letters, Recorder, blocks, first_wins, longer_wins, mumbles, scripted
from worlds import Court, follows, plan_of, words

from mipo_bench.harness.config.judge_spec import JudgeConfig
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.progress import Stage
from mipo_bench.harness.errors import ServerError
from mipo_bench.harness.judging.assign import AssignedJudge
from mipo_bench.harness.judging.bench import JudgedPair, TaskJudge, verdict_by_rule
from mipo_bench.harness.judging.judges import RuleJudge
from mipo_bench.harness.protocols import Question, Request, Verdict
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Item
from mipo_bench.reports.render.markdown import to_markdown
from mipo_bench.reports.stats import win_rate

ITEM = Item("i", "prompt", "a", "u", "context")


@pytest.fixture
def court(tmp_path: Path) -> Court:
    return Court(tmp_path / "store")


def test_both_orders_are_asked_once_and_never_again(court: Court) -> None:
    judge, model = scripted(longer_wins)
    report = court.run(judge)
    record = report.judges[0]
    asked = [r.prompt for r in model.asked]
    assert record.calls + record.consistency.n_retest == len(asked)  # type: ignore[union-attr]
    assert record.calls + record.settled == 2 * 2 * 12  # two arms beside the reference
    shown = {(b["request"], b["first response"], b["second response"]) for b in map(blocks, asked)}
    assert all((request, second, first) in shown for request, first, second in shown)
    again, model = scripted(longer_wins)
    second = court.run(again)
    assert not model.asked
    assert second.model_dump(exclude={"created"}) == report.model_dump(exclude={"created"})


def test_an_interrupted_judging_goes_on_call_by_call(court: Court) -> None:
    calls = 0

    def dies(request: Request) -> str:
        nonlocal calls
        calls += 1
        if calls > 7:
            raise ServerError("gone")
        return longer_wins(request)

    judge, _ = scripted(dies)
    report = court.run(judge)
    assert {(h.stage, h.error) for h in report.failures} == {("judging", "ServerError")}
    assert [a.method for a in report.arms] == ["profile"]
    healthy, model = scripted(longer_wins)
    report = court.run(healthy)
    record = report.judges[0]
    assert len(model.asked) == record.calls + 4 - 7
    assert not report.failures
    assert [a.method for a in report.arms] == ["no-context", "profile", "profile (A/A)"]


def test_a_judge_that_never_decides_is_counted_and_never_stored(court: Court) -> None:
    judge, model = scripted(mumbles)
    report = court.run(judge)
    record = report.judges[0]
    assert record.unread == record.calls > 0
    assert record.retries == record.calls
    assert len(model.asked) == 2 * record.calls
    assert all(score == 0.5 for arm in report.arms for score in arm.scores)
    assert {(c.p_value, *(w.code for w in c.warnings)) for c in report.comparisons} == {(None, "untestable")}
    assert sum(a.undecided for a in record.arms) == record.unread
    assert "verdicts could not be read and count as ties" in to_markdown(report).partition("##")[0]
    consistency = record.consistency
    assert consistency
    assert (consistency.consistent, consistency.kappa, consistency.first_share, consistency.n_retest) == (
        None,
        None,
        None,
        0,
    )
    again, model = scripted(mumbles)
    court.run(again)
    assert len(model.asked) == 2 * record.calls


def test_a_judge_that_takes_what_comes_first_decides_nothing_and_is_exposed(court: Court) -> None:
    judge, _ = scripted(first_wins)
    report = court.run(judge)
    c = report.judges[0].consistency
    assert c
    assert (c.consistent, c.first_share, c.retest_agreement) == (0.0, 1.0, 1.0)
    assert c.first_p is not None
    assert c.first_p < 0.001
    assert all(arm.scores == [0.5] * 12 for arm in report.arms)
    arms = report.judges[0].arms
    assert [(a.wins, a.ties, a.losses) for a in arms] == [(0, 12, 0)] * 2
    assert [a.reversals for a in arms] == [12, 12]


def test_the_reference_is_worth_one_half_and_a_better_arm_more(court: Court) -> None:
    judge = Recorder(lambda q: float(len(q.first) > len(q.second or "")))
    report = court.run(judge)
    arms = {a.method: a for a in report.arms}
    assert arms["profile"].scores == [0.5] * 12
    assert arms["profile"].parts["strict"] == [0.5] * 12
    assert arms["profile"].parts["agree"] == [1.0] * 12
    assert "letter" in arms["profile"].parts
    assert {"strict", "agree", "rules", "letter"} == set(arms["no-context"].parts)


def test_rules_decide_where_they_can_and_the_control_costs_nothing(court: Court) -> None:
    report = court.run(RuleJudge(court.task, "rules"), "rules")
    assert report.judges[0].consistency is None
    control = {c.method: c for c in report.controls}
    assert set(control) == {"no-context"}
    arm = next(a for a in report.arms if a.method == "no-context")
    reference = next(a for a in report.arms if a.method == "profile")
    for worth, own, other in zip(arm.scores, arm.parts["rules"], reference.parts["rules"], strict=True):
        assert worth == (0.5 if own == other else float((own or 0) > (other or 0)))


def test_without_a_reference_no_arm_can_be_judged(court: Court) -> None:
    config = load_config(None, [], {"recipes": []})
    plan = plan_of(config, court.task)
    plan = replace(plan, arms=tuple(a for a in plan.arms if a.aa_twin or a.baseline != "profile"))
    judge, _ = scripted(longer_wins)
    context = RunContext(config, plan, court.store, FakeEngine(words, follows), SilentDisplay())
    run = Run(context, {"letters": AssignedJudge(judge, "model")})
    report = run.execute()
    assert not report.arms
    assert {h.stage for h in report.failures} == {"judging"}
    assert "the reference profile could not be completed" in report.failures[0].message


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [
        ("a", "a ", 0.5),
        ("", " ", 0.5),
        ("", "a", 0.0),
        ("a", "", 1.0),
        ("a", "b", None),
        ("", None, 0.0),
        ("a", None, None),
    ],
)
def test_what_a_rule_settles(first: str, second: str | None, value: float | None) -> None:
    assert verdict_by_rule(Question(ITEM, "", first, second)) == value


def bench(tmp_path: Path, decide: Callable[[Question], float | None], protocol: str = "pairwise") -> TaskJudge:
    settings = JudgeConfig.model_validate({"protocol": protocol})
    return TaskJudge(AssignedJudge(Recorder(decide), "model"), settings, Store(tmp_path / "bench"))


def cases(n: int) -> list[JudgedPair]:
    return [JudgedPair(replace(ITEM, id=str(i), prompt=f"p{i}"), "", f"mine {i}", f"theirs {i}") for i in range(n)]


def test_a_thousand_items_take_two_thousand_calls(tmp_path: Path) -> None:
    court = bench(tmp_path, lambda q: 1.0)
    stage = Stage("judging", "verdicts")
    found = court.judge(cases(1000), stage)
    judge = court.assigned.judge
    assert isinstance(judge, Recorder)
    assert len(judge.asked) == len(court.asked) == stage.total == stage.done == 2000
    assert {f.score for f in found} == {0.5}
    court.judge(cases(1000), stage)
    assert len(judge.asked) == 2000


@pytest.mark.parametrize(
    ("own_first", "own_second", "worth", "strict", "agree"),
    [
        (1.0, 0.0, 1.0, 1.0, 1.0),
        (0.0, 1.0, 0.0, 0.0, 1.0),
        (1.0, 1.0, 0.5, 0.5, 0.0),
        (1.0, 0.5, 0.75, 0.5, 0.0),
        (0.5, 0.5, 0.5, 0.5, 1.0),
        (None, 0.0, 0.75, 0.5, 0.0),
        (None, None, 0.5, 0.5, 0.0),
    ],
)
def test_what_both_orders_are_worth(
    tmp_path: Path, own_first: float | None, own_second: float | None, worth: float, strict: float, agree: float
) -> None:
    """The verdicts as the judge gives them: 1 for the response shown first."""
    found = bench(tmp_path, lambda q: own_first if q.first.startswith("mine") else own_second).judge(
        cases(1), Stage("judging", "verdicts")
    )[0]
    assert (found.score, found.parts["strict"], found.parts["agree"]) == (worth, strict, agree)
    assert found.undecided == (own_first is None) + (own_second is None)


@pytest.mark.parametrize(
    ("own", "other", "worth", "paper"),
    [(0.75, 0.5, 1.0, 1.0), (0.5, 0.5, 0.5, 1.0), (0.25, 0.5, 0.0, 0.0), (None, 0.5, 0.5, 0.5), (0.0, None, 0.5, 0.5)],
)
def test_ratings_are_compared_strictly_and_as_in_the_paper(
    tmp_path: Path, own: float | None, other: float | None, worth: float, paper: float
) -> None:
    court = bench(tmp_path, lambda q: own if q.first.startswith("mine") else other, "pointwise")
    found = court.judge(cases(1), Stage("judging", "verdicts"))[0]
    assert (found.score, found.parts["paper"]) == (worth, paper)
    assert len(court.asked) == 2


def test_an_unread_verdict_is_refused_by_the_store(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="never stored"):
        store.put_verdict("key", Verdict(None, "hm"))
    store.put_verdict("key", Verdict(0.5, "Verdict: tie", 2))
    assert store.verdicts(["key", "other"]) == {"key": Verdict(0.5, "Verdict: tie", 2)}


def test_judged_comparisons_are_the_win_rate_test(tmp_path: Path) -> None:
    """Against a constant 1/2 the paired test is the sign-flip test of the win rate, clustered by user."""
    judge = Recorder(lambda q: (hash_of(q) % 3) / 2)
    report = Court(tmp_path, Letters(users=14, each=3)).run(judge)
    users = report.tasks[0].users
    found = next(c for c in report.comparisons if c.family == "noise")
    orders = {1.0: "WW", 0.75: "WT", 0.5: "TT", 0.25: "LT", 0.0: "LL"}
    scores = next(a.scores for a in report.arms if a.noise)
    assert len(set(scores)) == 5
    expected = win_rate([orders[s][0] for s in scores], [orders[s][1] for s in scores], users)
    assert found.test == expected.test
    assert found.delta == pytest.approx(expected.win_rate - 0.5)
    assert [found.p_value, found.mde] == pytest.approx([expected.p_value, expected.mde])
    assert expected.ci_low is not None
    assert expected.ci_high is not None
    assert [found.ci_low, found.ci_high] == pytest.approx([expected.ci_low - 0.5, expected.ci_high - 0.5])
    assert found.relative_delta == pytest.approx(2 * expected.win_rate - 1)


def hash_of(question: Question) -> int:
    return int(digest([question.item.id, question.first, question.second])[:8], 16)
