"""Baselines with several steps or a contrast prompt: their requests, their stored answers and their choices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine, FakeGenerator, PanicError
from worlds import World, guess, settings, settle

from mipo_bench.baselines.prompting.rephrase import RephraseAndRespond
from mipo_bench.baselines.prompting.self_refine import FEEDBACK, REFINE, SelfRefine
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import BestOfNConfig, CadConfig, RunConfig
from mipo_bench.harness.core.progress import Meter, Stage
from mipo_bench.harness.errors import ConfigError, StageError
from mipo_bench.harness.evaluation.arm_answers import AnsweringModel, ArmAnswers, ArmContext
from mipo_bench.harness.evaluation.arm_answers import render_arm as render
from mipo_bench.harness.evaluation.strategies import answer_arm
from mipo_bench.harness.planning.plan import TaskPlan, make_plan
from mipo_bench.harness.plugins.protocol_checks import check_plugin
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.protocols import Arm, Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.startup.cost import responses_per_item
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Baseline, ContrastedBaseline, Item, Message, Response, SteppedBaseline

PLUGINS = load_plugins()
DEFAULT = {"chain-of-thought", "few-shot", "no-context", "plain", "profile", "profile-instruction"}
STEPPED = {n: b for n, b in PLUGINS.baselines.items() if isinstance(b, SteppedBaseline)}
CONTRASTED = {n: b for n, b in PLUGINS.baselines.items() if isinstance(b, ContrastedBaseline)}


def plan_of(task: str, **changes: Any) -> TaskPlan:
    (plan,) = make_plan(settings(tasks=[task], recipes=[], limit=3)).tasks
    return replace(plan, **changes)


def ask(
    baseline: Baseline, plan: TaskPlan, generator: FakeGenerator, folder: Path, config: RunConfig | None = None
) -> tuple[ArmAnswers, dict[str, Response]]:
    store = Store(folder / "store")
    meter: Meter = Stage("test", "responses")
    arm = Arm(plan.task.name, baseline.name)
    done = answer_arm(
        ArmContext(plan, baseline, arm, AnsweringModel(generator, "w"), store, meter, config or RunConfig())
    )
    return done, done.responses(store)


def test_the_default_set_is_what_it_was() -> None:
    prompted = {a.baseline for a in make_plan(settings()).arms}
    assert prompted == DEFAULT
    every = {a.baseline for a in make_plan(settings(baselines=["all"])).arms}
    assert every >= DEFAULT | STEPPED.keys() | CONTRASTED.keys() | {"persona-role"}


@pytest.mark.parametrize("task", ["persona", "arithmetic", "facts"])
def test_every_baseline_runs_and_a_second_run_generates_nothing(tmp_path: Path, task: str) -> None:
    world = World(tmp_path, FakeEngine(guess, settle))
    config = settings(tasks=[task], baselines=["all"], recipes=[])
    first = world.run(config)
    assert not first.failures
    assert all(len(arm.scores) == 12 and not arm.failed for arm in first.arms)
    asked = len(world.engine.base_generator.asked)
    second = world.run(config)
    assert len(world.engine.base_generator.asked) == asked
    assert [arm.scores for arm in second.arms] == [arm.scores for arm in first.arms]


@pytest.mark.parametrize("name", sorted(STEPPED))
def test_the_steps_show_the_context_and_the_earlier_responses(tmp_path: Path, name: str) -> None:
    baseline = STEPPED[name]
    generator = FakeGenerator("g", lambda r: f"said-{sum(map(ord, r.prompt)) % 9973}")
    plan = plan_of("persona")
    done, responses = ask(baseline, plan, generator, tmp_path)
    assert (
        len(generator.asked)
        == len(plan.items) * baseline.steps
        == len(plan.items) * responses_per_item(baseline, BestOfNConfig())
    )
    by_step = [generator.asked[n : n + len(plan.items)] for n in range(0, len(generator.asked), len(plan.items))]
    shown = getattr(baseline, "context_steps", baseline.steps)
    for step, requests in enumerate(by_step):
        earlier = {f"said-{sum(map(ord, r.prompt)) % 9973}" for r in by_step[step - 1]} if step else set()
        for item, request in zip(reversed(plan.items), requests, strict=True):
            assert (str(item.context) in request.prompt) == (step < shown)
            assert not step or any(text in request.prompt for text in earlier)
    assert {r.text for r in responses.values()} == {f"said-{sum(map(ord, r.prompt)) % 9973}" for r in by_step[-1]}
    assert all(item.prompt in done.requests[item.id].prompt for item in plan.items)


def test_a_profile_is_summed_up_without_the_request() -> None:
    item = PLUGINS.tasks["persona"].items("eval")[0]
    summary = STEPPED["profile-summary"]
    first = summary.messages(item)
    assert item.prompt not in "".join(m.content for m in first)
    assert summary.follow_up(item, ["short"]) == (Message("system", "short"), Message("user", item.prompt))
    assert summary.follow_up(item, [" "]) == (Message("user", item.prompt),)


def test_self_refine_is_one_chat() -> None:
    item = Item("a", "Why?", "t", context="likes facts")
    chat = SelfRefine().follow_up(item, ["Because.", "Too short."])
    assert [m.role for m in chat] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert [m.content for m in chat[2:]] == ["Because.", FEEDBACK, "Too short.", REFINE]
    assert SelfRefine().follow_up(item, ["Because."]) == chat[:4]


def test_only_the_last_step_asks_for_options_and_begins_the_response(tmp_path: Path) -> None:
    plan = plan_of("facts")
    plan = replace(plan, items=tuple(replace(item, prefix="Well:") for item in plan.items))
    generator = FakeGenerator("g", lambda r: "Answer: A")
    _, responses = ask(RephraseAndRespond(), plan, generator, tmp_path)
    first, last = generator.asked[:3], generator.asked[3:]
    assert not any(r.options or "Well:" in r.prompt for r in first)
    assert all(r.options and "Well:" in r.prompt for r in last)
    assert all(r.option_logprobs for r in responses.values())


class Broken(RephraseAndRespond):
    error: BaseException = KeyError("no follow-up")

    def follow_up(self, item: Item, earlier: Sequence[str]) -> tuple[Message, ...]:
        if item.id.endswith("0"):
            raise self.error
        return super().follow_up(item, earlier)


def test_answers_do_not_change_when_more_is_asked(tmp_path: Path) -> None:
    plan, generator = plan_of("arithmetic"), FakeGenerator("g", lambda r: "Answer: 1")
    asked = render(plan, PLUGINS.baselines["plain"], Arm("arithmetic", "plain"), AnsweringModel(generator, "w"))
    first, [name, *others] = asked.answers(), asked.requests
    asked.record_failure(name, KeyError("bug"))
    asked.derived[others[0]] = "key"
    later = asked.answers()
    assert (list(first.requests), first.failed, first.derived) == ([name, *others], {}, {})
    assert (list(later.requests), later.failed) == (others, {name: "prompt: KeyError: 'bug'"})
    assert later.keys[others[0]] == "key" != first.keys[others[0]]


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize("error", [KeyError("no follow-up"), SystemExit(3), UnreadableError(), PanicError("rust")])
def test_a_follow_up_that_raises_is_a_counted_row(error: BaseException, tmp_path: Path) -> None:
    plan, broken = plan_of("arithmetic"), Broken()
    broken.error = error
    done, responses = ask(broken, plan, FakeGenerator("g", lambda r: "Answer: 1"), tmp_path)
    assert list(done.failed) == [plan.items[0].id]
    assert done.failed[plan.items[0].id].startswith(f"prompt: {type(error).__name__}")
    assert list(responses) == [item.id for item in plan.items[1:]]


def test_a_contrast_that_panics_is_a_counted_row(tmp_path: Path) -> None:
    class Panicking(type(CONTRASTED["cad"])):  # type: ignore[misc]
        def contrast(self, item: Item) -> tuple[Message, ...]:
            if item.id == plan.items[0].id:
                raise PanicError("rust")
            found: tuple[Message, ...] = super().contrast(item)
            return found

    plan, generator = plan_of("persona"), FakeGenerator("g", lambda r: "x")
    done, _ = ask(Panicking(), plan, generator, tmp_path, RunConfig(cad=CadConfig(weight=1.5)))
    assert done.failed == {plan.items[0].id: "prompt: PanicError: rust"}


def test_an_item_with_an_overflow_stays_at_its_step(tmp_path: Path) -> None:
    plan = plan_of("arithmetic")
    long = FakeGenerator("g", lambda r: "word " * 500 if r.prompt.count("<user>") == 1 else "Answer: 1", window=2000)
    done, responses = ask(SelfRefine(), plan, long, tmp_path)
    assert {r.finish for r in responses.values()} == {"overflow"}
    assert not done.failed
    assert len(long.asked) == 2 * len(plan.items)


def test_cad_decodes_against_the_same_item_without_context(tmp_path: Path) -> None:
    plan, generator = plan_of("persona"), FakeGenerator("g", lambda r: "x")
    done, _ = ask(CONTRASTED["cad"], plan, generator, tmp_path, RunConfig(cad=CadConfig(weight=1.5)))
    plain = {r.prompt for r in generator.asked}
    for item in plan.items:
        request = done.requests[item.id]
        assert str(item.context) in request.prompt
        assert request.contrast == f"<user>{item.prompt}<assistant>"
        assert request.contrast_weight == 1.5
        assert request.prompt in plain
    again, _ = ask(CONTRASTED["cad"], plan, generator, tmp_path, RunConfig(cad=CadConfig(weight=0.5)))
    assert again.keys.values() != done.keys.values()
    assert not set(again.keys.values()) & set(done.keys.values())


def test_best_of_n_takes_the_sample_that_the_context_explains(tmp_path: Path) -> None:
    """The fake model gives words of the prompt a high probability, so a sample that repeats the profile gains most."""
    plan = plan_of("persona")

    def sample(request: Request) -> str:
        profile = request.prompt.split("<user>")[0].split()
        return [f"other-{request.seed % 7}", " ".join(profile[2:5]), "", " ".join(profile[2:8])][request.seed % 4]

    done, responses = ask(
        CONTRASTED["best-of-n"],
        plan,
        FakeGenerator("g", sample),
        tmp_path,
        RunConfig(best_of_n=BestOfNConfig(samples=24)),
    )
    for item in plan.items:
        assert len(responses[item.id].text.split()) == 6
        assert responses[item.id].text in done.requests[item.id].prompt
        assert done.requests[item.id].decoding.temperature == 1.0


def test_best_of_n_never_prefers_an_empty_sample(tmp_path: Path) -> None:
    """An empty sample gains 0 nats; a sample that the profile makes less likely gains less than 0."""
    plan = plan_of("persona")
    worse = FakeGenerator("g", lambda r: "" if r.seed % 2 else "word")
    _, responses = ask(CONTRASTED["best-of-n"], plan, worse, tmp_path, RunConfig(best_of_n=BestOfNConfig(samples=16)))
    assert {r.text for r in responses.values()} == {"word"}
    _, responses = ask(CONTRASTED["best-of-n"], plan, FakeGenerator("h", lambda r: ""), tmp_path)
    assert {r.text for r in responses.values()} == {""}


class Table(FakeGenerator):
    """Log-probabilities from a table: (whether the question is shown, option's place) -> nats."""

    places: Mapping[str, int]
    own: tuple[float, ...] = (-1.0, -2.0, -5.0, -9.0)
    domain: tuple[float, ...] = (-0.5, -4.0, -6.0, -9.5)

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        for n, question in enumerate(asked):
            row = self.domain if question.prompt == "<user>Answer the question.<assistant>" else self.own
            yield n, tuple(Likelihood(row[self.places[text]], 1, greedy=False) for text in question.texts)


def test_domain_pmi_on_numbers_made_by_hand(tmp_path: Path) -> None:
    """The first option is the most likely; the second gains most from the question: -2 + 4 = 2 nats."""
    plan, generator = plan_of("facts"), Table("g", lambda r: "never asked")
    places: dict[str, int] = {option: n for item in plan.items for n, option in enumerate(item.options)}
    items = tuple(i for i in plan.items if [places[option] for option in i.options] == [0, 1, 2, 3])
    plan, generator.places = replace(plan, items=items), places
    done, responses = ask(CONTRASTED["domain-pmi"], plan, generator, tmp_path)
    assert len(plan.items) > 1
    assert generator.asked == []
    for item in plan.items:
        response = responses[item.id]
        assert response.text == item.options[1]
        assert response.option_logprobs == (-0.5, 2.0, 1.0, 0.5)
        score = plan.task.score(item, response)
        assert score.value == score.parts["acc"] == float(item.target == "B")
    assert len(set(done.keys.values())) == len(plan.items)


def test_a_reference_asks_once(tmp_path: Path) -> None:
    """Pairs are made of one prompt and one response."""
    for name in ("self-refine", "cad"):
        with pytest.raises(ConfigError, match=f"the reference '{name}' of task 'persona' uses several prompts"):
            make_plan(load_config(None, [], {"tasks": ["persona"], "reference": {"persona": name}}))


def test_the_attributes_of_a_baseline_are_checked() -> None:
    class Odd(RephraseAndRespond):
        steps = 0
        contrast_use = "guessing"

    with pytest.raises(Exception, match=r"contrast_use 'guessing' is not one of decoding.*; steps = 0 is too few"):
        check_plugin("baseline", Odd, "here")


def test_a_model_that_cannot_be_asked_fails_the_arm(tmp_path: Path) -> None:
    class Silent(FakeGenerator):
        def _one(self, request: Request) -> Response:
            return Response("out of order", 1, 0, "failed")

    with pytest.raises(StageError, match="out of order"):
        ask(SelfRefine(), plan_of("arithmetic"), Silent("g", lambda r: ""), tmp_path)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("cad", "5f5fcb519f5eb6a1f31910737552e3c7a8b98c12eada3729bc38489a20047d71"),
        ("best-of-n", "7b854db507cfee6cfd0706fa1b7d70cd2ce2274c5833636008ee6b5cec00030b"),
    ],
)
def test_stored_answers_keep_their_keys_when_settings_are_renamed(tmp_path: Path, name: str, key: str) -> None:
    """The expected keys are from the time when the settings were named `asking.*`."""
    plan = plan_of("persona", items=(Item("a", "Why?", "t", context="likes facts"),))
    config = RunConfig(cad=CadConfig(weight=0.25), best_of_n=BestOfNConfig(samples=3, temperature=0.8, top_p=0.7))
    done, _ = ask(CONTRASTED[name], plan, FakeGenerator("g", lambda r: f"a{r.seed % 7}"), tmp_path, config)
    assert done.keys == {"a": key}
