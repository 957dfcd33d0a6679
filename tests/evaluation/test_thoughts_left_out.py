"""Scorers, judges, later steps and rescoring get responses without thoughts; the store keeps them whole."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeEngine, FakeGenerator, SilentDisplay
from made_judges import scripted
from worlds import Court, World, settings, settle

from mipo_bench.baselines.prompting.self_refine import SelfRefine
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.progress import Stage
from mipo_bench.harness.errors import ConfigError, ReportError
from mipo_bench.harness.evaluation.arm_answers import AnsweringModel, ArmAnswers, ArmContext, render_arm
from mipo_bench.harness.evaluation.cached_answers import answer
from mipo_bench.harness.evaluation.scoring import describe_task, score_arm, stored_responses
from mipo_bench.harness.evaluation.strategies import answer_arm
from mipo_bench.harness.history.find_report import ReportSearch
from mipo_bench.harness.history.rescore import rescored
from mipo_bench.harness.judging.rewards import score_reward
from mipo_bench.harness.planning.plan import TaskPlan, make_plan
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.protocols import Arm, Prompt, Question, Request
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.harness.types import Item, Message, Reading, Response, Score, Task, Way
from mipo_bench.reports.diff.records import Side
from mipo_bench.reports.records.report import ArmRecord, ReadingRecord, Report
from mipo_bench.reports.records.report_file import seal, to_json
from mipo_bench.tasks.embedded.arithmetic import Arithmetic
from mipo_bench.tasks.embedded.facts import Facts
from mipo_bench.tasks.embedded.persona import Persona
from mipo_bench.tasks.reading.thoughts import THOUGHT_TAGS, ThoughtTag

TASKS: list[Task] = [Arithmetic(), Facts(), Persona()]
ITEMS = [(task, item) for task in TASKS for item in task.items("eval")]


class ThinkingGenerator(FakeGenerator):
    """A generator whose chat template opens the thoughts."""

    def render(self, messages: Sequence[Message], context: str | None) -> Prompt:
        plain = super().render(messages, context)
        return replace(plain, text=f"{plain.text}<think>\n")


class ThinkingEngine(FakeEngine):
    """A backend whose base model is a `ThinkingGenerator`."""

    def __post_init__(self) -> None:
        self._base = ThinkingGenerator(self.model_digest, self.answer)


def answers_to(request: Request) -> tuple[str, str]:
    """A right and a wrong answer to the item of a request."""
    task, item = next((t, i) for t, i in ITEMS if i.prompt in request.prompt and (i.context or "") in request.prompt)
    return task.gold(item), task.wrong(item)


def thinks(request: Request) -> str:
    """Thoughts that hold a wrong answer, then the right answer."""
    right, wrong = answers_to(request)
    return f"<think>Perhaps: {wrong}</think>\n\n{right}"


def goes_on_thinking(request: Request) -> str:
    """Thoughts that hold the right answer and were cut, after a begin tag in the prompt."""
    return f"Perhaps: {answers_to(request)[0]}"


def arm_of(task: str, generator: FakeGenerator, store: Store, tags: Sequence[ThoughtTag] = THOUGHT_TAGS) -> ArmAnswers:
    (plan,) = make_plan(settings(tasks=[task], recipes=[], limit=6)).tasks
    plan = replace(plan, thought_tags=tags)
    baseline = load_plugins().baselines[plan.reference]
    rendered = render_arm(plan, baseline, Arm(task, plan.reference), AnsweringModel(generator, "weights"))
    answer(generator, list(rendered.requests.values()), store, Stage("test", "responses"))
    return rendered.answers()


def record_of(answers: ArmAnswers, store: Store) -> ArmRecord:
    return score_arm(answers.task.task, answers.task.items, stored_responses(answers, store))


@pytest.mark.parametrize("task", ["arithmetic", "facts", "persona"])
def test_the_answer_is_scored_and_the_store_keeps_the_thoughts(tmp_path: Path, task: str) -> None:
    with closing(Store(tmp_path)) as store:
        answers = arm_of(task, FakeGenerator("g", thinks), store)
        record = record_of(answers, store)
        assert all("<think>" in response.text for response in answers.responses(store).values())
    assert record.scores == [1.0] * len(record.scores)
    assert record.reading is not None
    assert (record.reading.thoughts, record.reading.thoughts_cut) == (len(record.scores), [])


@pytest.mark.parametrize("task", ["arithmetic", "facts", "persona"])
def test_thoughts_that_the_prompt_opened_and_nothing_closed_have_no_answer(tmp_path: Path, task: str) -> None:
    with closing(Store(tmp_path)) as store:
        answers = arm_of(task, ThinkingGenerator("g", goes_on_thinking), store)
        record = record_of(answers, store)
    items = [item.id for item in answers.task.items]
    empty = [answers.task.task.score(item, Response("", 0, 0, "stop")).value for item in answers.task.items]
    assert record.scores == empty
    assert record.unparsed == items
    assert record.reading is not None
    assert record.reading.thoughts_cut == items


class Lenient(Arithmetic):
    """Arithmetic whose scorer finds an answer in every text."""

    def score(self, item: Item, response: Response) -> Score:
        return Score(0.0 if response.text else 1.0)


def test_cut_thoughts_have_the_score_of_an_empty_text_but_no_answer(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        answers = arm_of("arithmetic", ThinkingGenerator("g", goes_on_thinking), store)
        record = record_of(replace(answers, task=replace(answers.task, task=Lenient())), store)
    assert record.scores == [1.0] * 6
    assert record.unparsed == [item.id for item in answers.task.items]


def test_an_empty_response_after_an_open_tag_is_empty_and_not_cut(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        record = record_of(arm_of("arithmetic", ThinkingGenerator("g", lambda request: ""), store), store)
    assert record.reading is not None
    assert record.reading.thoughts_cut == []


def test_tags_of_the_configuration_replace_those_of_public_models(tmp_path: Path) -> None:
    config = load_config(None, ['thought_tags=[["[[", "]]"]]'], {"tasks": ["arithmetic"], "recipes": []})
    (plan,) = make_plan(config).tasks
    assert plan.thought_tags == (("[[", "]]"),)
    (usual,) = make_plan(settings(tasks=["arithmetic"], recipes=[])).tasks
    assert usual.thought_tags == THOUGHT_TAGS
    with closing(Store(tmp_path)) as store:
        generator = FakeGenerator("g", lambda r: f"[[{answers_to(r)[1]}]] It is done.")
        assert set(record_of(arm_of("arithmetic", generator, store, plan.thought_tags), store).unparsed)
        assert not record_of(arm_of("arithmetic", generator, store), store).unparsed


@pytest.mark.parametrize("tags", ['[["", "</t>"]]', '[["<t>"]]', "<think>"])
def test_a_tag_has_a_beginning_and_an_end(tags: str) -> None:
    with pytest.raises(ConfigError, match="thought_tags"):
        load_config(None, [f"thought_tags={tags}"], {})


def test_other_tags_are_another_scorer_and_another_reward() -> None:
    task = Persona()
    usual = describe_task(task, "profile", ()).scorer_hash
    assert describe_task(task, "profile", (), THOUGHT_TAGS[::-1]).scorer_hash == usual
    assert describe_task(task, "profile", (), [("<t>", "</t>")]).scorer_hash != usual
    assert score_reward(task).digest != score_reward(task, [("<t>", "</t>")]).digest


def test_later_steps_see_no_thoughts(tmp_path: Path) -> None:
    (plan,) = make_plan(settings(tasks=["arithmetic"], recipes=[], limit=2)).tasks
    generator = FakeGenerator("g", lambda request: "<think>SECRET</think>a draft")
    with closing(Store(tmp_path)) as store:
        meter = Stage("test", "responses")
        arm = Arm("arithmetic", SelfRefine.name)
        model = AnsweringModel(generator, "w")
        answer_arm(ArmContext(plan, SelfRefine(), arm, model, store, meter, settings()))
    assert any("a draft" in request.prompt for request in generator.asked)
    assert not any("SECRET" in request.prompt for request in generator.asked)


def test_judges_see_no_thoughts(tmp_path: Path) -> None:
    court = Court(tmp_path, answer=lambda request: f"<think>SECRET</think>{request.seed}")
    judge, model = scripted(lambda request: "<think>Verdict: second</think>Verdict: first")
    report = court.run(judge)
    assert model.asked
    assert not any("SECRET" in request.prompt for request in model.asked)
    assert report.judges[0].unread == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<think>\nVerdict: second\n</think>\nVerdict: first", 1.0),
        ("[THINK]\nVerdict: second\n[/THINK]\nVerdict: first", 1.0),
        ("<think>\nVerdict: second\n", None),
    ],
)
def test_a_verdict_is_read_after_the_thoughts(text: str, value: float | None) -> None:
    judge, _ = scripted(lambda request: text)
    question = Question(Item("i", "a question", ""), "a rubric", "one", "two")
    ((_, verdict),) = judge.decide([question])
    assert (verdict.value, verdict.text) == (value, text)


def stored_run(config: RunConfig, engine: FakeEngine) -> Report:
    """The report of a run that is kept in the store of the working folder."""
    with closing(Store(Path(".mipo-bench"))) as store:
        started = Run(RunContext(config, make_plan(config), store, engine, SilentDisplay()))
        report = seal(started.execute())
        store.put_run(StoredRun(report.digest, report.created, to_json(report), [e.keys for e in started.evaluated]))
    return report


STORE = ReportSearch(store=Path(".mipo-bench"))


def test_rescoring_leaves_out_the_same_thoughts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = settings(tasks=["arithmetic"], recipes=[], limit=6)
    report = stored_run(config, ThinkingEngine(goes_on_thinking, settle))
    again = rescored(Side(report, "A"), STORE).report
    assert again.arms == report.arms
    assert all(arm.reading and len(arm.reading.thoughts_cut) == 6 for arm in again.arms)


def test_rescoring_takes_the_tags_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(None, ['thought_tags=[["<<", ">>"]]'], {"tasks": ["arithmetic"], "recipes": [], "limit": 6})
    report = stored_run(config, FakeEngine(lambda r: f"<<thoughts>>{answers_to(r)[0]}", settle))
    again = rescored(Side(report, "A"), STORE).report
    assert (again.arms, again.tasks) == (report.arms, report.tasks)
    assert all(arm.reading and arm.reading.thoughts == 6 for arm in again.arms)
    odd = report.model_copy(update={"config": {**report.config, "thought_tags": 5}})
    with pytest.raises(ReportError, match="thought_tags in the report's configuration"):
        rescored(Side(odd, "A"), STORE)


def test_an_option_that_was_chosen_by_likelihood_has_no_thoughts(tmp_path: Path) -> None:
    (plan,) = make_plan(settings(tasks=["facts"], recipes=[], limit=2)).tasks
    with closing(Store(tmp_path)) as store:
        model = AnsweringModel(ThinkingGenerator("g", goes_on_thinking), "w")
        baseline = load_plugins().baselines["domain-pmi"]
        arm = Arm("facts", baseline.name)
        done = answer_arm(ArmContext(plan, baseline, arm, model, store, Stage("test", "responses"), settings()))
        record = record_of(done, store)
    assert record.reading is not None
    assert record.reading.thoughts_cut == []


class Counting(Arithmetic):
    """Arithmetic with a reading for every response."""

    def score(self, item: Item, response: Response) -> Score:
        way: Way = "mark" if "Answer:" in response.text else "none"
        return replace(super().score(item, response), reading=Reading(None, way, "a rule", "Q:" in response.text))


def test_the_ways_of_an_arm_are_counted(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        answers = arm_of("arithmetic", FakeGenerator("g", lambda r: ("Answer: 5 Q: 6", "?")[r.seed % 2]), store)
        plan: TaskPlan = replace(answers.task, task=Counting())
        marked = sum(request.seed % 2 == 0 for request in answers.requests.values())
        record = record_of(replace(answers, task=plan), store)
    counts = {"mark": marked, "none": 6 - marked}
    assert record.reading == ReadingRecord(ways={w: n for w, n in counts.items() if n}, invented_turns=marked)


class Misreading(Arithmetic):
    """Arithmetic with a way that does not exist."""

    def score(self, item: Item, response: Response) -> Score:
        return replace(super().score(item, response), reading=Reading("1", "telepathy", "a rule"))  # type: ignore[arg-type]


def test_a_way_that_does_not_exist_is_a_failure_of_the_scorer(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        answers = arm_of("arithmetic", FakeGenerator("g", lambda request: "1"), store)
        record = record_of(replace(answers, task=replace(answers.task, task=Misreading())), store)
    assert len(record.failed) == 6
    assert all("is not a Reading with a way of mark, phrase" in reason for reason in record.failed.values())


def test_a_task_without_readings_has_no_ways(tmp_path: Path) -> None:
    report = World(tmp_path).run(settings(suite="personalized", recipes=[], limit=6))
    assert all(arm.reading == ReadingRecord() for arm in report.arms)
