"""Tasks with checks: a judge answers yes or no for each response by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from golden_files import run
from made_judges import Letters, Recorder, ScriptedEntailment, blocks, outside, scripted
from openai_server import serving
from paths import DATA
from worlds import Court

from mipo_bench.harness.checks import Check
from mipo_bench.harness.config.judge_spec import JudgeConfig
from mipo_bench.harness.core.progress import Stage
from mipo_bench.harness.judging.assign import AssignedJudge
from mipo_bench.harness.judging.bench import JudgedPair, TaskJudge
from mipo_bench.harness.judging.nli_judge import nli_judge
from mipo_bench.harness.judging.prompt import judge_messages, read_answer
from mipo_bench.harness.judging.validation import check, labels_of
from mipo_bench.harness.protocols import Question, Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Item, Score
from mipo_bench.tasks.public.prefeval import PrefEval
from mipo_bench.tasks.public.prefeval_open import PrefEvalOpen

HOLDS = Check("holds", "Does the response hold the letter?", "It holds the letter a.")
SHORT = Check("short", "Is the response short?", "It is short.")
ITEM = Item("i", "Ask.", "a", "u", "Wants a.")


class CheckedLetters(Letters):
    """A response holds its user's letter, and is short."""

    def checks(self, item: Item) -> Sequence[Check]:
        return (HOLDS, SHORT)

    def checked(self, answers: Mapping[str, bool]) -> Score:
        return Score(float(answers["holds"] and answers["short"]), {name: float(v) for name, v in answers.items()})


def holds_and_is_short(request: Request) -> str:
    found = blocks(request.prompt)
    wanted = found["rubric"].partition("the letter ")[2][:1]
    yes = "short?" in outside(request.prompt) or wanted in found["response"]
    return f"Let me see.\nAnswer: {'yes' if yes else 'no'}"


def test_the_question_of_a_check_stands_outside_of_the_marks() -> None:
    prompt = "\n".join(m.content for m in judge_messages(Question(ITEM, "Good.", "Answer: yes", check=HOLDS)))
    assert blocks(prompt)["response"] == "Answer: yes"
    assert HOLDS.question in outside(prompt)
    assert "Rating" not in prompt


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("It does.\nAnswer: yes", 1.0),
        ("**Answer:** No.", 0.0),
        ("yes", None),
        ("Answer: maybe", None),
        ("Answer: yes\nAnswer: no", None),
        ("Verdict: first", None),
    ],
)
def test_an_answer_is_one_line(text: str, value: float | None) -> None:
    assert read_answer(text, Question(ITEM, "", "x", check=HOLDS)) == value


def test_each_response_is_checked_by_itself_and_the_reference_once(tmp_path: Path) -> None:
    judge, model = scripted(holds_and_is_short)
    court = Court(tmp_path / "store", CheckedLetters())
    report = court.run(judge, settings=("judge.retest=0",))
    record = report.judges[0]
    assert not report.failures
    assert (record.protocol, record.unread) == ("checks", 0)
    assert record.calls == len(model.asked) == len({request.prompt for request in model.asked})
    by_method = {arm.method: arm for arm in report.arms}
    reference = by_method["profile"]
    for arm in report.arms:
        assert set(arm.parts) >= {"checks", "holds", "short", "letter"}
        assert arm.parts["holds"] == arm.parts["letter"] == arm.parts["rules"]
        both = zip(arm.parts["checks"], reference.parts["checks"], arm.scores, strict=True)
        assert all(score == 0.5 + ((own or 0) - (other or 0)) / 2 for own, other, score in both)
    assert set(by_method["no-context"].scores) > {0.5}
    again, model = scripted(holds_and_is_short)
    assert court.run(again, settings=("judge.retest=0",)).arms == report.arms
    assert not model.asked


def asked(tmp_path: Path, decide: object, cases: Sequence[JudgedPair]) -> tuple[TaskJudge, list[object]]:
    assigned = AssignedJudge(Recorder(decide), "model")  # type: ignore[arg-type]
    judge = TaskJudge(assigned, JudgeConfig(), Store(tmp_path), CheckedLetters())
    return judge, [(f.score, dict(f.parts), f.undecided, f.asked) for f in judge.judge(cases, Stage("j", "v"))]


def test_an_unread_answer_makes_a_tie_and_is_counted(tmp_path: Path) -> None:
    def decide(question: Question) -> float | None:
        assert question.check
        return None if question.first == "theirs" and question.check.name == "short" else 1.0

    _, found = asked(tmp_path, decide, [JudgedPair(ITEM, "", "mine", "theirs")])
    assert found == [(0.5, {"checks": 1.0, "holds": 1.0, "short": 1.0}, 1, 4)]
    _, found = asked(tmp_path, decide, [JudgedPair(ITEM, "", "theirs", "mine")])
    assert found == [(0.5, {}, 1, 4)]


def test_of_an_empty_response_every_answer_is_no_without_a_question(tmp_path: Path) -> None:
    judge, found = asked(tmp_path, lambda question: 1.0, [JudgedPair(ITEM, "", " ", "mine")])
    assert found == [(0.0, {"checks": 0.0, "holds": 0.0, "short": 0.0}, 0, 2)]
    assert judge.decided_by_rule == 2


def test_an_entailment_model_answers_by_the_statement() -> None:
    judge = nli_judge("script", ScriptedEntailment(), "script")
    questions = [Question(ITEM, "", text, check=HOLDS) for text in ("a", "b", "not a")]
    assert [verdict.value for _, verdict in judge.decide(questions)] == [1.0, 0.0, 0.0]


def open_task() -> PrefEvalOpen:
    return PrefEvalOpen(DATA)


def test_prefeval_by_generation_has_the_items_users_and_splits_of_the_choice() -> None:
    for split in ("train", "eval"):
        closed, free = PrefEval(DATA).items(split), open_task().items(split)
        assert {(i.id, i.user_id, i.context) for i in free} == {(i.id, i.user_id, i.context) for i in closed}
        assert all(c.prompt.startswith(f.prompt) for c in closed for f in free if c.id == f.id)
    one = next(i for i in open_task().items("eval") if open_task().gold(i) != open_task().wrong(i))
    violation = open_task().checks(one)[0]
    preference = str(one.context).removeprefix("The user has stated this preference: ")
    assert violation.statement.endswith(preference)


@pytest.mark.parametrize(
    ("violation", "acknowledged", "hallucinated", "helpful", "error"),
    [
        (False, True, False, True, None),
        (False, False, True, True, None),
        (True, False, False, True, "unaware"),
        (True, True, True, True, "misremembered"),
        (True, True, False, True, "inconsistent"),
        (False, True, False, False, "unhelpful"),
        (True, False, False, False, "unaware"),
    ],
)
def test_a_response_has_one_error_at_most_as_in_the_paper(
    violation: bool, acknowledged: bool, hallucinated: bool, helpful: bool, error: str | None
) -> None:
    answers = {
        "violation": violation,
        "acknowledged": acknowledged,
        "hallucinated": hallucinated,
        "helpful": helpful,
    }
    score = open_task().checked(answers)
    kinds = {"unaware", "misremembered", "inconsistent", "unhelpful"}
    assert {kind for kind in kinds if score.parts[kind]} == ({error} if error else set())
    assert score.value == float(error is None)
    assert {name: score.parts[name] for name in answers} == answers


def test_a_judge_of_checks_is_validated_by_the_options(tmp_path: Path) -> None:
    task = open_task()
    labels = labels_of(task, None)
    followed = {task.gold(item) for item in task.items("eval")}

    def decide(question: Question) -> float:
        assert question.check
        return float(
            question.check.name == "helpful" or (question.first not in followed) == (question.check.name == "violation")
        )

    assigned = AssignedJudge(Recorder(decide), "model", answers_checks=True)
    found = check(assigned, labels, JudgeConfig(), Store(tmp_path), Stage("j", "v"))
    assert found.protocol == "checks"
    assert found.validation
    assert found.validation.accuracy == 1.0


def test_a_run_prints_the_checks_and_refuses_what_cannot_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    quick = "--recipes none --limit 2 --set decoding.max_new_tokens=12 --set information.arms=none --set judge.retest=0"
    command = f"run --task prefeval_open --data {DATA} {quick}"
    for judge in ("rules", f"file:{tmp_path / 'v.jsonl'}"):
        printed = run(f"{command} --judge {judge}", capsys)
        assert printed.code == 2
        assert f"questions about each response, which {judge.partition(':')[0]} cannot" in printed.err
    with serving(lambda _: "Answer: no") as server:
        arms = "--baselines profile,profile-reminder,self-critic"
        printed = run(f"{command} {arms} --judge openai:judge@{server.url} --out out", capsys)
        plan = run(f"{command} --judge openai:judge@{server.url} --dry-run", capsys)
    assert printed.code == 0, printed.err
    assert "judged by judge, questions about each response" in " ".join(printed.out.split())
    assert "profile-reminder" in printed.out
    assert "questions and as many retries" in plan.out
    report = json.loads(Path("out/report.json").read_text())
    unhelpful = {arm["method"]: arm["parts"]["unhelpful"] for arm in report["arms"]}
    assert set(unhelpful) >= {"profile", "profile-reminder", "self-critic"}
    assert all(values == [1.0, 1.0] for values in unhelpful.values())
