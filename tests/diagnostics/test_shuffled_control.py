"""The shuffled-profile control: the choice of the other user, and the effect on generic and personalized responses."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from fakes import Answerer, FakeEngine, SilentDisplay
from made_judges import Letters, Recorder
from paths import DATA
from worlds import plan_of

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.evaluation.shuffled_profiles import (
    in_place_of,
    other_user_of,
    target_describes_user,
    target_is_option,
)
from mipo_bench.harness.judging.assign import AssignedJudge
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.protocols import Question, Request
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Demonstration, Item
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.render.markdown import to_markdown
from mipo_bench.tasks.embedded.facts import Facts
from mipo_bench.tasks.embedded.persona import Persona
from mipo_bench.tasks.public.prefeval import PrefEval


def test_nobody_keeps_their_own_profile() -> None:
    items = Persona().items("eval")
    other = other_user_of(items)
    assert set(other) == {item.id for item in items}
    users = {str(item.user_id): str(other[item.id].user_id) for item in items}
    assert len(set(users.values())) == len(users)
    assert all(own != stranger for own, stranger in users.items())
    contexts = {item.user_id: item.context for item in items}
    assert all(contexts[own] != contexts[stranger] for own, stranger in users.items())
    assert other == other_user_of(items)


def test_the_item_keeps_its_request_and_takes_the_other_profile() -> None:
    shown = (Demonstration("r", "w"),)
    one, two = Item("a", "p", "t", "u", "c"), Item("b", "q", "s", "v", "d", demonstrations=shown)
    assert one.asked_by(two) == Item("a", "p", "t", "v", "d", demonstrations=shown)
    assert in_place_of(one, two) == Item("a", "p", "s", "v", "d", demonstrations=shown)


@pytest.mark.parametrize(
    "items",
    [
        [Item("a", "p", "t", "u", "c")],
        [Item("a", "p", "t"), Item("b", "p", "t")],
        [Item("a", "p", "t", "u", None), Item("b", "p", "t", "v", None)],
        [Item("a", "p", "t", "u", "same"), Item("b", "p", "t", "v", "same")],
    ],
)
def test_without_two_different_users_there_is_no_control(items: list[Item]) -> None:
    assert other_user_of(items) == {}


def test_rules_need_a_target_that_is_the_users() -> None:
    assert target_describes_user(Persona(), Persona().items("eval")[:9])
    assert not target_describes_user(Facts(), Facts().items("eval")[:9])
    mixed = [Item("a", "p", "answer 1", "u", "c"), Item("b", "q", "answer 2", "u", "c")]
    assert not target_describes_user(Persona(), mixed)
    chosen = list({item.user_id: item for item in PrefEval(DATA).items("eval")}.values())
    assert not target_describes_user(PrefEval(), chosen)
    assert target_is_option(PrefEval(), chosen)
    assert not target_is_option(Persona(), mixed)
    assert not target_is_option(Facts(), Facts().items("eval"))


def plain(request: Request) -> str:
    return "x"


def report_of(tmp_path: Path, task: Letters, base: object, judge: Recorder | None = None, *settings: str) -> Report:
    config = load_config(None, list(settings), {"recipes": []})
    engine = FakeEngine(base, base)  # type: ignore[arg-type]
    plan = plan_of(config, task)
    judges = {task.name: AssignedJudge(judge, "model")} if judge else {}
    return Run(RunContext(config, plan, Store(tmp_path / "store"), engine, SilentDisplay()), judges).execute()


def wish(request: Request) -> str:
    """A model that follows the profile where it is shown, and gives a useless response without it."""
    return f"word {request.prompt.partition('Wants ')[2][:1]}" if "Wants" in request.prompt else "-"


def flatter(request: Request) -> str:
    """A model that responds with all letters without a profile: equally useful to every user."""
    return "x" if "Wants" in request.prompt else "abcdefghijklmnopqrstuvwxyz"


def test_generic_quality_survives_the_shuffle_and_personalization_does_not(tmp_path: Path) -> None:
    judge = Recorder(lambda q: 0.5)
    config = "judge.shuffled=true"
    for name, model, gain, stays in (("wish", wish, -1.0, 0.0), ("flatter", flatter, 1.0, 1.0)):
        decide = Recorder(letter_rule)
        control = report_of(tmp_path / name, Letters(), model, decide, config).controls[0]
        assert control.method == "no-context"
        assert control.gain == pytest.approx(gain / 2)
        assert control.shuffled_gain == pytest.approx(stays / 2)
        assert control.difference == pytest.approx((gain - stays) / 2)
    assert not report_of(tmp_path / "off", Letters(), wish, judge).controls


def letter_rule(question: Question) -> float:
    """A judge that reads the profile in the question, which is another user's under the control."""
    letter = str(question.item.context).partition("Wants ")[2][:1]
    first, second = (f" {letter}" in text or len(text) == 26 for text in (question.first, str(question.second)))
    return 0.5 if first == second else float(first > second)


def test_a_rule_scored_task_has_its_control_by_default(tmp_path: Path) -> None:
    config = load_config(None, [], {"tasks": ["persona"], "recipes": [], "limit": 12})
    engine = FakeEngine(lambda r: r.prompt, lambda r: r.prompt)
    plan = make_plan(config)
    run = Run(RunContext(config, plan, Store(tmp_path), engine, SilentDisplay()))
    report = run.execute()
    asked = engine.base_generator.asked
    assert {c.method for c in report.controls} == {"few-shot", "no-context", "profile-instruction"}
    assert all(c.p_adjusted is not None for c in report.controls if c.p_value is not None)
    assert "shuffled-profile control" in to_markdown(report)
    assert len(asked) == len(plan.arms) * 12  # nothing is generated for it
    base = {a.method: sum(a.scores) / 12 for a in report.arms if not a.noise}
    for control in report.controls:
        assert control.gain == pytest.approx(base[control.method] - base["profile"])


def test_tasks_without_users_have_no_control(tmp_path: Path) -> None:
    config = load_config(None, [], {"tasks": ["facts", "arithmetic"], "recipes": [], "limit": 4})
    run = Run(RunContext(config, make_plan(config), Store(tmp_path), FakeEngine(plain, plain), SilentDisplay()))
    assert not run.execute().controls


ASKED = PrefEval(DATA).items("eval")


def own_option(request: Request, *, reads: bool) -> str:
    """The option that follows the preference of the question; only under that preference if the model reads it."""
    item = next(item for item in ASKED if item.prompt in request.prompt)
    return f"Answer: {item.target}" if not reads or str(item.context) in request.prompt else "Answer: none"


def choices(tmp_path: Path, trained: Answerer, **options: object) -> tuple[Report, FakeEngine]:
    """A run on prefeval; the base model gives no answer to any question."""
    wanted = {"tasks": ["prefeval"], "data": [str(DATA)], "recipes": ["mipo-missing"], "seeds": 2, **options}
    config = load_config(None, [], wanted)
    engine = FakeEngine(lambda r: f"none {r.seed}", trained)
    run = Run(RunContext(config, make_plan(config), Store(tmp_path), engine, SilentDisplay()))
    return run.execute(), engine


@pytest.mark.parametrize(("reads", "stays"), [(True, 0.0), (False, 1.0)])
def test_a_choice_is_asked_again_with_the_profile_of_another_user(reads: bool, stays: float, tmp_path: Path) -> None:
    report, _ = choices(tmp_path, partial(own_option, reads=reads))
    (control,) = report.controls
    assert (control.method, control.base, control.n_seeds) == ("mipo-missing", "profile", 2)
    assert (control.gain, control.shuffled_gain, control.difference) == (1.0, stays, 1.0 - stays)


def test_a_choice_without_a_trained_arm_is_not_asked_again(tmp_path: Path) -> None:
    report, engine = choices(tmp_path, plain, recipes=[], baselines=["no-context"], noise_floor=False)
    assert not report.controls
    assert len(engine.base_generator.asked) == len(report.arms) * len(ASKED)


def test_a_control_that_fails_is_a_failure_of_its_arm(tmp_path: Path) -> None:
    def once(request: Request) -> str:
        item = next(item for item in ASKED if item.prompt in request.prompt)
        if str(item.context) not in request.prompt:
            raise RuntimeError("the machine is gone")
        return "Answer: A"

    report, _ = choices(tmp_path, once)
    assert [(f.method, f.train_seed, f.stage) for f in report.failures] == [
        ("mipo-missing", seed, "shuffled-profile control") for seed in (0, 1)
    ]
    assert all(arm.scores for arm in report.arms)
