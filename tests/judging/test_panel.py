"""Several judges at once: each one's table, their agreement, and a verdict only where they agree."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeEngine, SilentDisplay
from golden_files import run
from made_judges import Letters, first_wins, longer_wins, mumbles, scripted
from openai_server import serving
from worlds import follows, plan_of, words

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.judging.assign import AssignedJudge
from mipo_bench.harness.judging.bench import ItemVerdict
from mipo_bench.harness.judging.judges import ModelJudge, RuleJudge
from mipo_bench.harness.judging.panel import agreed
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.store.run_store import Store
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.render.markdown import to_markdown

QUICK = "--set information.arms=none --set judge.retest=0"


def verdict(score: float, undecided: int = 0) -> ItemVerdict:
    return ItemVerdict(score, {"strict": score}, None, undecided, 2)


@pytest.mark.parametrize(
    ("scores", "score", "same"),
    [
        ((1.0, 1.0), 1.0, True),
        ((1.0, 0.75), 0.875, True),
        ((0.0, 0.25), 0.125, True),
        ((0.5, 0.5), 0.5, True),
        ((1.0, 0.0), 0.5, False),
        ((1.0, 0.5), 0.5, False),
        ((1.0, 1.0, 0.25), 0.5, False),
    ],
)
def test_an_item_is_won_only_where_all_judges_say_so(scores: tuple[float, ...], score: float, same: bool) -> None:
    found = agreed([verdict(one) for one in scores])
    assert (found.score, found.parts["agreed"]) == (score, float(same))
    assert [found.parts[f"judge {n}"] for n in range(1, len(scores) + 1)] == list(scores)
    assert found.parts["strict 1"] == scores[0]


def test_a_judge_without_a_verdict_agrees_with_nobody() -> None:
    found = agreed([verdict(0.5), verdict(0.5, undecided=2)])
    assert (found.score, found.parts["agreed"], found.undecided, found.asked) == (0.5, 0.0, 2, 4)
    by_rule = ItemVerdict(0.5, {}, None, 0, 0)
    assert agreed([by_rule, by_rule]).parts["agreed"] == 1.0


def judged_by(folder: Path, *judges: ModelJudge | RuleJudge) -> Report:
    config = load_config(None, ["judge.retest=2"], {"recipes": []})
    task = Letters()
    kinds = ["rules" if isinstance(judge, RuleJudge) else "model" for judge in judges]
    first, *others = (AssignedJudge(judge, kind) for judge, kind in zip(judges, kinds, strict=True))  # type: ignore[arg-type]
    panel = replace(first, others=tuple(others))
    context = RunContext(config, plan_of(config, task), Store(folder), FakeEngine(words, follows), SilentDisplay())
    return Run(context, {task.name: panel}).execute()


def test_each_judge_has_its_table_and_the_scores_are_those_of_all(tmp_path: Path) -> None:
    longer, _ = scripted(longer_wins, "long")
    rules = RuleJudge(Letters(), "rules")
    both = judged_by(tmp_path / "a", longer, rules)
    alone = [judged_by(tmp_path / name, judge) for name, judge in (("b", longer), ("c", rules))]
    assert [judge.name for judge in both.judges] == ["long", "rules"]
    for judge, report in zip(both.judges, alone, strict=True):
        assert judge.model_copy(update={"agreements": []}) == report.judges[0]
    for arm, first, second in zip(both.arms, alone[0].arms, alone[1].arms, strict=True):
        pairs = list(zip(first.scores, second.scores, strict=True))
        assert arm.parts["judge 1"] == first.scores
        assert arm.parts["judge 2"] == second.scores
        winners = [((a > 0.5) - (a < 0.5), (b > 0.5) - (b < 0.5)) for a, b in pairs]
        assert arm.parts["agreed"] == [float(a == b) for a, b in winners]
        assert arm.scores == [(x + y) / 2 if a == b else 0.5 for (x, y), (a, b) in zip(pairs, winners, strict=True)]
    (agreement,) = both.judges[1].agreements
    assert not both.judges[0].agreements
    assert agreement.judge == "long"
    shares = [v for arm in both.arms if arm.method != "profile" for v in arm.parts["agreed"] if v is not None]
    assert agreement.n_items <= len(shares)
    assert agreement.same is not None
    assert agreement.same < 1
    text = to_markdown(both)
    assert "judged by long" in text
    assert "judged by rules" in text
    assert "same winner as long" in text
    assert both.tasks[0].scorer_hash not in {report.tasks[0].scorer_hash for report in alone}


def test_a_judge_that_never_decides_makes_the_joint_verdicts_untestable(tmp_path: Path) -> None:
    report = judged_by(tmp_path, scripted(longer_wins, "long")[0], scripted(mumbles, "mumbles")[0])
    assert all(score == 0.5 for arm in report.arms for score in arm.scores)
    assert {(c.p_value, *(w.code for w in c.warnings)) for c in report.comparisons} == {(None, "untestable")}


def test_judges_that_agree_on_everything_have_the_verdicts_of_one(tmp_path: Path) -> None:
    one, other = scripted(first_wins, "one")[0], scripted(first_wins, "other")[0]
    report = judged_by(tmp_path, one, other)
    assert report.judges[1].agreements[0].same == 1.0
    assert all(part == 1.0 for arm in report.arms for part in arm.parts["agreed"])


def test_judges_are_named_on_the_command_line_and_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with serving(lambda _: "Verdict: first") as server:
        judges = f"--judge rules --judge openai:judge@{server.url}"
        plan = run(f"run --task persona-judged --recipes none --limit 3 {judges} --dry-run", capsys)
        done = run(
            f"run --task persona-judged --recipes none --limit 2 {judges} --baselines no-context --out out {QUICK}",
            capsys,
        )
    assert plan.code == done.code == 0, done.err
    assert "judged by rules" in plan.out
    assert f"judged by openai:judge@{server.url}" in " ".join(plan.out.split())
    report = json.loads(Path("out/report.json").read_text())
    assert [judge["kind"] for judge in report["judges"]] == ["rules", "server"]
    assert report["config"]["judge"]["others"] == [f"openai:judge@{server.url}"]
    Path("run.yaml").write_text("judge: {name: rules, others: ['nli:x/y']}\n")
    assert load_config(Path("run.yaml"), [], {}).judge.names == ("rules", "nli:x/y")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("run --task persona-judged --judge rules --judge rules", "rules is named twice; name different judges"),
        ("run --task persona-judged --set judge.others=rules", "name the first judge in judge.name"),
        ("run --task persona-judged --judge rules --judge nli:embedded", "is no entailment model"),
        (
            "check-judge --task persona-judged --judge rules --judge embedded",
            "one judge at a time, not rules, embedded",
        ),
    ],
)
def test_judges_that_cannot_be_taken_together_are_refused(
    command: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = run(command, capsys)
    assert printed.code == 2
    assert message in printed.err
    assert not list(tmp_path.iterdir())


def test_a_validation_may_be_about_any_of_the_judges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mipo_bench.harness.judging.assign import load_judges
    from mipo_bench.tasks.embedded.persona_judged import PersonaJudged

    monkeypatch.chdir(tmp_path)
    assert run("check-judge --task persona-judged --limit 12", capsys).code == 0
    validated = ["judge.validation_file=judge-validation.json", "judge.name=embedded"]
    both = load_config(None, [*validated, "judge.others=rules"], {})
    found = load_judges(both, [PersonaJudged()])["persona-judged"]
    assert [member.validation is not None for member in found.members] == [False, True]
    with pytest.raises(ConfigError, match="is about the judge 'rules'"):
        load_judges(load_config(None, validated, {}), [PersonaJudged()])
