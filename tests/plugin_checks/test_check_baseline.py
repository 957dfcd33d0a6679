"""`check-baseline` finds the problems of a prompting baseline and names the item; good baselines pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import pytest

from mipo_bench.baselines.decoding.cad import ContextAwareDecoding
from mipo_bench.baselines.prompting.multi_step import system_turn
from mipo_bench.baselines.prompting.user_thoughts import UserThoughts
from mipo_bench.harness.plugin_checks.baseline import check_baseline, fingerprints
from mipo_bench.harness.plugin_checks.items import CheckResult
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.types import Baseline, Item, Message, Split, Task
from mipo_bench.tasks.embedded.arithmetic import Arithmetic
from mipo_bench.tasks.embedded.facts import Facts
from mipo_bench.tasks.embedded.persona import Persona

PLUGINS = load_plugins()
BASELINES = PLUGINS.baselines


class Users(Persona):
    """Two users of each split."""

    def items(self, split: Split) -> tuple[Item, ...]:
        return tuple(super().items(split))[:6]


class Sums(Arithmetic):
    """A few word problems."""

    def items(self, split: Split) -> tuple[Item, ...]:
        return tuple(super().items(split))[:3]


class Choices(Facts):
    """A few multiple-choice items."""

    def items(self, split: Split) -> tuple[Item, ...]:
        return tuple(super().items(split))[:3]


TASKS: Sequence[Task] = (Users(), Sums(), Choices())
FIRST = Users().items("eval")[0]


class Reminder:
    """A good baseline with one prompt; each test breaks one thing."""

    name = "reminder"
    description = "The request, and the context after it."
    uses_context = True

    def applies(self, task: Task, item: Item) -> Any:
        return item.context is not None

    def messages(self, item: Item) -> Any:
        return (Message("user", "\n".join(filter(None, (item.prompt, item.context)))),)


def checks(baseline: Baseline, tasks: Sequence[Task] = TASKS) -> dict[str, CheckResult]:
    again = partial(fingerprints, baseline, tasks)
    return {check.name: check for check in check_baseline(baseline, tasks, PLUGINS, lambda _: again())}


def problems(baseline: Baseline, tasks: Sequence[Task] = TASKS) -> dict[str, tuple[str, ...]]:
    return {name: check.problems for name, check in checks(baseline, tasks).items() if check.problems}


def broken(base: type[Any], **changes: Any) -> Baseline:
    baseline: Baseline = type("Broken", (base,), changes)()
    return baseline


def gives(*turns: Any) -> Callable[[object, Item], Any]:
    """A method `messages` that gives these turns for every item."""
    return lambda _, item: tuple(turns)


def fail(*_: object) -> Any:
    raise RuntimeError("no idea")


@pytest.mark.parametrize("name", [*BASELINES, "reminder"])
def test_good_baselines_pass(name: str) -> None:
    assert problems(BASELINES.get(name, Reminder())) == {}


USER, SYSTEM, ANSWER = Message("user", "Hello?"), Message("system", "Be kind."), Message("assistant", "Hello.")
NAMED = f"item {FIRST.id!r} of persona"
PROBLEMS: list[tuple[type[Any], dict[str, Any], str, str]] = [
    (Reminder, {"applies": fail}, "applies", "task 'persona': applies() raises RuntimeError: no idea"),
    (Reminder, {"applies": lambda *_: 1}, "applies", "task 'persona': applies() gives 1, not True or False"),
    (Reminder, {"applies": lambda *_: False}, "applies", "applies to no task (persona, arithmetic, facts): repair"),
    (Reminder, {"messages": fail}, "prompts", f"{NAMED}: messages() raises RuntimeError: no idea (test_check_baseline"),
    (Reminder, {"messages": lambda *_: "Hello"}, "prompts", f"{NAMED}: messages() gives 'Hello', not messages"),
    (Reminder, {"messages": gives(Message("user", None))}, "prompts", "not messages"),  # type: ignore[arg-type]
    (Reminder, {"messages": gives(Message("bot", "Hi"))}, "prompts", "not messages"),  # type: ignore[arg-type]
    (Reminder, {"messages": gives(USER, ANSWER)}, "prompts", "does not end with a user message"),
    (Reminder, {"messages": gives(USER, ANSWER, SYSTEM, USER)}, "prompts", "has a system message at place 3: put"),
    (Reminder, {"messages": gives(SYSTEM, ANSWER, USER)}, "prompts", "has the roles system, assistant, user: user and"),
    (Reminder, {"messages": gives(USER, USER)}, "prompts", "has the roles user, user: user and assistant must"),
    (Reminder, {"messages": gives(USER)}, "context", f"{NAMED}: chat 1 leaves out the context 'About the user:"),
    (
        Reminder,
        {"uses_context": False},
        "context",
        f"{NAMED}: the chat shows the context, as every other one does, but",
    ),
    (
        Reminder,
        {"messages": lambda _, item: (Message("user", item.context.strip() + item.prompt),)},
        "withheld",
        f"{NAMED}, with its context withheld (None): messages() raises AttributeError",
    ),
    (
        Reminder,
        {"messages": lambda _, item: (Message("user", f"{item.context} {item.prompt}"),)},
        "withheld",
        f"{NAMED}, with its context withheld (None): messages() writes None in the place of the context: leave",
    ),
    (
        Reminder,
        {"messages": gives(Message("user", str(FIRST.context))), "applies": lambda _, task, item: item == FIRST},
        "withheld",
        "shows the context all the same: take it from item.context alone",
    ),
    (
        UserThoughts,
        {"follow_up": lambda _, item, earlier: (*system_turn(item), Message("user", earlier[1]))},
        "prompts",
        f"{NAMED}: follow_up() of step 2 raises IndexError: list index out of range",
    ),
    (
        UserThoughts,
        {"messages": lambda _, item: (Message("user", item.prompt),)},
        "context",
        f"{NAMED}: chat 1 leaves out the context",
    ),
    (
        UserThoughts,
        {"follow_up": lambda _, item, earlier: (Message("user", earlier[0]),)},
        "context",
        "show it word for word, or say context_steps = 1",
    ),
    (
        UserThoughts,
        {"follow_up": lambda _, item, earlier: (*system_turn(item), Message("user", item.prompt))},
        "steps",
        f"{NAMED}: the last prompt is the same for every earlier response, as that of every other item: show",
    ),
    (
        UserThoughts,
        {"follow_up": lambda _, i, earlier: (*system_turn(i), Message("user", earlier[0].split()[0]))},
        "steps",
        f"{NAMED}: follow_up() of step 2 raises IndexError: list index out of range (test_check_baseline.py, line",
    ),
    (
        ContextAwareDecoding,
        {"contrast": ContextAwareDecoding.messages},
        "contrast",
        f"{NAMED}: contrast() gives the chat of messages(): nothing is contrasted. Leave something out of it",
    ),
    (ContextAwareDecoding, {"contrast": fail}, "prompts", f"{NAMED}: contrast() raises RuntimeError: no idea"),
]


@pytest.mark.parametrize(("base", "changes", "check", "problem"), PROBLEMS)
def test_a_problem_is_named_with_its_item(base: type[Any], changes: dict[str, Any], check: str, problem: str) -> None:
    tasks = TASKS if check == "applies" else TASKS[:1]
    assert problem in problems(broken(base, **changes), tasks)[check][0]


def test_a_prompt_that_depends_on_earlier_ones_differs_in_the_second_process() -> None:
    numbers = count()
    counting = broken(Reminder, messages=lambda _, item: (Message("user", f"{next(numbers)} {item.context}"),))
    assert problems(counting)["processes"][0] == f"{NAMED} differs in a second process: its prompts change"


def test_options_are_shown_to_the_last_step_alone_as_in_a_run() -> None:
    seen = []

    def messages(_: object, item: Item) -> tuple[Message, ...]:
        seen.append(item.options)
        return (Message("user", item.prompt),)

    def follow_up(_: object, item: Item, earlier: Sequence[str]) -> tuple[Message, ...]:
        return (Message("user", f"{earlier[0]} {item.options[0]}"),)

    changes: dict[str, Any] = {"messages": messages, "follow_up": follow_up, "applies": lambda *_: True}
    assert problems(broken(UserThoughts, **changes), [Choices()]) == {}
    assert set(seen) == {()}


def test_a_demonstration_without_a_response_is_a_turn_of_its_own() -> None:
    shots = (Message("user", "one"), Message("user", "two"))
    assert "roles user, user" in problems(broken(Reminder, messages=gives(*shots)), [Users()])["prompts"][0]
    bare = broken(Users, items=lambda _, split: [without_responses(i) for i in Users().items(split)])
    assert "prompts" not in problems(broken(Reminder, messages=gives(*shots)), [bare])  # type: ignore[list-item]


def without_responses(item: Item) -> Item:
    return replace(item, demonstrations=tuple(replace(turn, response="") for turn in item.demonstrations))


def test_the_cost_counts_responses_and_characters_beside_the_reference() -> None:
    double = broken(Reminder, messages=lambda _, i: (Message("user", f"{i.prompt}{i.context}" * 2),))
    first, persona = checks(double, [Users()])["cost"].done.split("\n")
    assert first == "1 response for each item"
    assert persona.endswith(" tokens: 2.00 times those of profile")
    assert checks(BASELINES["self-refine"])["cost"].done.startswith("3 responses for each item; an earlier response")
    assert checks(BASELINES["best-of-n"])["cost"].done.startswith("8 responses for each item\n")
    assert checks(BASELINES["domain-pmi"])["cost"].done.startswith("0 responses for each item\n")


def test_a_task_that_cannot_be_used_is_named_with_the_command_that_shows_more() -> None:
    empty = broken(Users, items=lambda *_: ())
    problem = "task 'persona' cannot be used: items('eval') is empty; see mipo-bench check-task persona"
    assert problems(Reminder(), [empty])["applies"] == (problem,)  # type: ignore[list-item]
