"""The judges in a plan, verdicts of people, and the pointwise protocol from end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from golden_files import run
from made_judges import Letters, Recorder
from worlds import Court, plan_of

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.judging.to_label import unjudged
from mipo_bench.harness.judging.verdict_file import file_judge
from mipo_bench.harness.protocols import Question
from mipo_bench.harness.startup.cost import planned_judging
from mipo_bench.harness.types import Item
from mipo_bench.reports.render.markdown import to_markdown
from mipo_bench.tasks.embedded.persona_judged import PersonaJudged


def config(*settings: str) -> RunConfig:
    return load_config(None, settings, {"recipes": []})


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ([], "letters: judged by rules, pairwise"),
        (["judge.name=file:x.jsonl"], "letters: judged by file:x.jsonl, pairwise"),
        (["judge.name=org/model"], "letters: judged by org/model, pairwise, at most 98 calls and as many retries"),
        (["judge.name=m/j", "judge.shuffled=true", "judge.retest=0"], "pairwise, at most 96 calls"),
        (["judge.name=m/j", "judge.protocol=pointwise", "judge.retest=0"], "pointwise, at most 36 calls"),
    ],
)
def test_a_plan_names_its_judge_and_the_calls(settings: list[str], line: str) -> None:
    """Twelve items, three arms, one of them the reference."""
    planned = plan_of(config(*settings), Letters())
    assert line in next(planned_judging(planned, config(*settings)))


def test_a_plan_without_a_judge_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    class Opinion(Letters):
        rules_decide = False

    assert list(planned_judging(plan_of(config(), Opinion()), config())) == [
        "! letters has no judge: name one with --judge"
    ]
    printed = run("run --dry-run --task persona-judged --limit 10 --judge ./nowhere --recipes none", capsys)
    assert printed.code == 0
    assert "persona-judged: judged by ./nowhere, pairwise, at most 130 calls" in printed.out


def test_no_run_takes_more_calls_than_its_plan_says(tmp_path: Path) -> None:
    judge = Recorder(lambda q: 1.0)
    settings = ("judge.name=m/j", "judge.retest=50", "judge.shuffled=true")
    Court(tmp_path).run(judge, "model", settings)
    assert len(judge.asked) == 96 + 50
    assert "at most 146 calls" in next(planned_judging(plan_of(config(*settings), Letters()), config(*settings)))


def test_people_judge_what_a_file_lacks(tmp_path: Path) -> None:
    """The first run has an empty file; its missing comparisons are labelled, and the second run finds all of them."""
    verdicts = tmp_path / "verdicts.jsonl"
    verdicts.write_text("")
    court = Court(tmp_path / "store")
    first = court.run(file_judge(verdicts), "file")
    record = first.judges[0]
    assert record.unread == record.calls == 48
    assert {(c.p_value, c.p_adjusted, c.delta) for c in first.comparisons} == {(None, None, None)}
    assert {w.message for c in first.comparisons for w in c.warnings} == {
        "the judge gave no verdict on no-context",
        "the judge gave no verdict on profile (A/A)",
    }
    assert {(a.length_controlled, a.length_low, *(w.code for w in a.warnings)) for a in record.arms} == {
        (None, None, "untestable")
    }
    page = to_markdown(first)
    assert page.count("| - | - | - | - | 24 |") == 2  # no win rate, wins, strict wins and reversals; 24 not read
    assert {(e.ci_low, e.interval) for e in first.estimates if e.method != "profile"} == {(None, "none")}
    assert len(court.jury.unanswered()) == 48
    rows = [json.loads(line) for line in unjudged(court.jury.unanswered()).splitlines()]
    assert len(rows) == 24  # each pair once, although it was asked in both orders
    assert {row["label"] for row in rows} == {None}
    labelled = [row | {"label": "a" if len(row["a"]) > len(row["b"]) else "b"} for row in rows]
    verdicts.write_text("\n".join(map(json.dumps, labelled)))
    second = court.run(file_judge(verdicts), "file")
    assert second.judges[0].unread == 0
    assert set(second.arms[0].scores) <= {0.0, 1.0}
    assert second.tasks[0].scorer_hash != first.tasks[0].scorer_hash


def test_lines_to_label_keep_their_order_and_say_what_is_judged() -> None:
    item = Item("i", "prompt", "", "u", "context")
    questions = [Question(item, "rubric", f"one {n}", f"two {n}") for n in range(20)]
    rows = [json.loads(line) for line in unjudged(questions).splitlines()]
    assert rows == [json.loads(line) for line in unjudged(questions).splitlines()]
    assert {row["a"][:3] for row in rows} == {"one", "two"}
    alone = json.loads(unjudged([Question(item, "rubric", "one")]))
    assert alone == {"prompt": "prompt", "context": "context", "rubric": "rubric", "a": "one", "rating": None}
    assert unjudged([]) == ""


def test_no_text_breaks_a_line_to_label() -> None:
    """Not even in a program that takes other characters than a newline for the end of a line."""
    texts = ("first\u2028second\x85third\u2029\x0b\x1c\n", "höher")
    written = unjudged([Question(Item("i", "prompt", "", "u", "context"), "rubric", *texts)])
    assert len(written.splitlines()) == 1
    assert "höher" in written
    assert {json.loads(written)["a"], json.loads(written)["b"]} == {*texts}


def test_ratings_from_end_to_end(tmp_path: Path) -> None:
    def rate(question: Question) -> float:
        return min(4, len(question.first.split()) - 3) / 4

    judge = Recorder(rate)
    settings = ("judge.protocol=pointwise", "judge.retest=5")
    report = Court(tmp_path).run(judge, "model", settings)
    record = report.judges[0]
    assert (record.protocol, record.calls, record.settled) == ("pointwise", 36, 0)
    assert len(judge.asked) == 36 + 5
    arms = {a.method: a for a in report.arms}
    reference, other = arms["profile"].parts["rating"], arms["no-context"].parts["rating"]
    assert arms["profile"].scores == [0.5] * 12
    assert arms["profile"].parts["paper"] == [1.0] * 12
    for own, base, worth, paper in zip(
        other, reference, arms["no-context"].scores, arms["no-context"].parts["paper"], strict=True
    ):
        assert worth == (0.5 if own == base else float((own or 0) > (base or 0)))
        assert paper == float((own or 0) >= (base or 0))
    assert record.consistency
    assert (record.consistency.kappa, record.consistency.retest_agreement) == (None, 1.0)
    text = to_markdown(report)
    assert "rated one by one from 1 to 5" in text
    assert "kappa between" not in text


def test_another_judge_or_protocol_is_another_scorer(tmp_path: Path) -> None:
    def scorer(name: str, judge: Any, *settings: str) -> str:
        return Court(tmp_path / name).run(judge, "model", settings).tasks[0].scorer_hash

    one = scorer("a", Recorder(lambda q: 0.5, "one"))
    assert one == scorer("b", Recorder(lambda q: 0.5, "one"))
    assert one != scorer("c", Recorder(lambda q: 0.5, "two"))
    assert one != scorer("d", Recorder(lambda q: 0.5, "one"), "judge.protocol=pointwise")


def test_given_responses_are_judged_and_people_can_judge_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command line, without a model: first rules, then a file of verdicts that lacks all comparisons."""
    monkeypatch.chdir(tmp_path)
    task = PersonaJudged()
    lines = [
        {"task": task.name, "item_id": item.id, "response": say(item)} | arm
        for item in task.items("eval")[:12]
        for say, arm in ((task.wrong, {"arm": "profile"}), (task.gold, {"arm": "mine", "train_seed": 0}))
    ]
    Path("given.jsonl").write_text("\n".join(map(json.dumps, lines)))
    ruled = run("run --model given.jsonl --limit 12 --out ruled", capsys)
    assert ruled.code == 0
    assert "judge not validated" in ruled.out
    report = json.loads(Path("ruled/report.json").read_text())
    assert [arm["scores"] for arm in report["arms"]] == [[0.5] * 12, [1.0] * 12]
    assert [c["shuffled_gain"] < c["gain"] for c in report["controls"]] == [True]
    assert not Path("ruled/to-judge.jsonl").exists()
    Path("people.jsonl").write_text("")
    assert run("run --model given.jsonl --limit 12 --out asked --judge file:people.jsonl", capsys).code == 0
    rows = [json.loads(line) for line in Path("asked/to-judge.jsonl").read_text().splitlines()]
    assert len(rows) == 12
    again = run("diff ruled ruled --rescore", capsys)
    assert again.code == 2
    assert "only a judge can score persona-judged" in again.err
