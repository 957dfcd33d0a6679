"""`check-task` finds the problems of a task and names the item; good tasks pass."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import pytest
from paths import DATA as PUBLIC_DATA

from mipo_bench.harness.plugin_checks.items import fingerprints
from mipo_bench.harness.plugin_checks.task import check_task
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.plugins.task_data import EVERY, on_data
from mipo_bench.harness.types import Demonstration, Item, Message, Response, Score, Split, Suite, Task

PLUGINS = load_plugins()


class Good:
    """A tiny task with users; each test breaks one thing."""

    name = "good"
    suite: Suite = "personalized"
    version = 1
    description = "Say the word that the user likes."
    binary = True
    reasoning = False
    reference = "profile"
    max_new_tokens = 8

    def items(self, split: Split) -> Sequence[Item]:
        return [
            Item(f"{split}-{n}", f"Say it, {split} {n}.", f"word{n}", f"{split}-user-{n}", f"Likes word{n}.")
            for n in range(3)
        ]

    def score(self, item: Item, response: Response) -> Score:
        return Score(float(item.target in response.text))

    def gold(self, item: Item) -> str:
        return item.target

    def wrong(self, item: Item) -> str:
        return "another"


class Judged(Good):
    """A judged task."""

    def score(self, item: Item, response: Response) -> Score:
        return Score(0.0)

    def rubric(self, item: Item) -> str:
        return f"It says {item.target}."


def problems(task: Task) -> dict[str, tuple[str, ...]]:
    checks = check_task(task, PLUGINS, partial(fingerprints, task))
    return {check.name: check.problems for check in checks if check.problems}


def broken(base: type[Good] = Good, **changes: Any) -> Task:
    task: Task = type("Broken", (base,), changes)()
    return task


def with_items(**change: Any) -> Task:
    """A task whose first evaluation item is changed."""

    def items(self: object, split: Split) -> list[Item]:
        first, *rest = Good().items(split)
        return [replace(first, **change) if split == "eval" else first, *rest]

    return broken(items=items)


DATA = {EVERY: PUBLIC_DATA}


@pytest.mark.parametrize(
    "task", [Good(), Judged(), *(on_data(task, DATA) for task in PLUGINS.tasks.values())], ids=lambda t: t.name
)
def test_good_tasks_pass(task: Task) -> None:
    assert problems(task) == {}


LONE = "item 'eval-0': it has a lone surrogate (half a character), which UTF-8 cannot encode"
ITEM_PROBLEMS: list[tuple[dict[str, Any], str, str]] = [
    ({"id": "eval-1"}, "items", "item 'eval-1': 2 items have this id"),
    ({"id": "train-1"}, "items", "item 'train-1': 2 items have this id"),
    ({"id": ""}, "items", "eval item 0: id '' is not a line of text"),
    ({"id": "a\nb"}, "items", "eval item 0: id 'a\\nb' is not a line of text"),
    ({"prompt": " "}, "items", "item 'eval-0': prompt ' ' is empty"),
    (
        {"prompt": "a\ud800"},
        "items",
        "item 'eval-0': it has a lone surrogate (half a character), which UTF-8 cannot encode",
    ),
    ({"target": 3}, "items", "item 'eval-0': target 3 is not a str"),
    ({"context": None}, "items", "item 'eval-0': context is missing, but the task is personalized"),
    ({"user_id": ""}, "items", "item 'eval-0': user_id '' is empty"),
    ({"options": ("a",)}, "items", "item 'eval-0': options ('a',) must be several and different"),
    ({"options": ("a", "a")}, "items", "item 'eval-0': options ('a', 'a') must be several and different"),
    ({"options": ["a", "b"]}, "items", "item 'eval-0': options ['a', 'b'] is not a tuple of texts"),
    (
        {"demonstrations": ("x",)},
        "items",
        "item 'eval-0': demonstrations ('x',) is not a tuple of Demonstrations with texts",
    ),
    ({"user_id": "train-user-2"}, "splits", "item 'eval-0': its user_id 'train-user-2' is trained on as well"),
    ({"prompt": "Say it, train 1."}, "splits", "item 'eval-0': its prompt 'Say it, train 1.' is trained on as well"),
    (
        {"demonstrations": (Demonstration("Say it, eval 2.", "word2"),)},
        "splits",
        "item 'eval-0': a demonstration shows the evaluation prompt 'Say it, eval 2.'",
    ),
]


@pytest.mark.parametrize(("change", "check", "problem"), ITEM_PROBLEMS)
def test_what_is_wrong_with_an_item_is_named(change: dict[str, Any], check: str, problem: str) -> None:
    assert problem in problems(with_items(**change))[check]


def test_some_equal_options_are_counted_and_all_equal_ones_refused() -> None:
    task = with_items(options=("a", "b", "a"))
    done = next(check.done for check in check_task(task, PLUGINS, partial(fingerprints, task)))
    assert done == "3 for evaluation, 3 for training; ids unique; 1 with two equal options"
    assert "must be several and different" in problems(with_items(options=("a", "a", "a")))["items"][0]


def test_an_empty_target() -> None:
    assert "item 'eval-0': target ' ' is empty" in problems(with_items(target=" "))["targets"]


def fail(*_: object) -> Any:
    raise KeyError("lost")


TASK_PROBLEMS: list[tuple[dict[str, Any], str, str]] = [
    ({"items": fail}, "items", "items('eval') raises KeyError: 'lost' (test_check_task.py, line"),
    ({"items": lambda self, split: iter([])}, "items", "not a sequence of items"),
    ({"items": lambda self, split: []}, "items", "items('eval') is empty"),
    ({"items": lambda self, split: ["x"]}, "items", "eval item 0 is 'x', not an Item"),
    ({"gold": fail}, "gold", "item 'eval-0': gold() raises KeyError: 'lost'"),
    ({"gold": lambda self, item: None}, "gold", "item 'eval-0': gold() gives None, not a text"),
    ({"gold": lambda self, item: "x"}, "gold", "item 'eval-0': the gold response 'x' scores 0, not 1"),
    ({"wrong": Good.gold}, "wrong", "item 'eval-0': the wrong response 'word0' scores 1, not 0"),
    ({"score": fail}, "gold", "item 'eval-0': scoring the gold response raises KeyError: 'lost'"),
    ({"score": lambda self, item, r: 1.0}, "gold", "item 'eval-0': scoring the gold response gives 1.0, not a Score"),
    ({"score": lambda self, item, r: None}, "gold", "item 'eval-0': scoring the gold response gives None, not a Score"),
    ({"score": lambda self, item, r: Score(float("nan"))}, "gold", "value = nan is not between 0 and 1"),
    ({"score": lambda self, item, r: Score(cast("float", np.float32(1)))}, "gold", "is a float32; return"),
    (
        {"score": lambda self, item, r: Score(min(len(r.text), 9) / 5)},
        "range",
        "item 'eval-0': scoring 'word word word word word word word word '...: value = 1.8 is not between 0 and 1",
    ),
    (
        {"score": lambda self, item, r: Score(0.0, {"part": float(bool(r.text)) * 2})},
        "range",
        "item 'eval-0': scoring 'Answer:': part = 2.0 is not between 0 and 1",
    ),
    ({"score": lambda self, item, r: Score(int(r.text) / 9)}, "range", "item 'eval-0': scoring '' raises ValueError"),
    (
        {"score": lambda self, item, r: Score(0.5 if not r.text else float(item.target in r.text))},
        "range",
        "item 'eval-0': scoring '' gives 0.5, but the task says that it is binary",
    ),
    ({"reference": "profle"}, "reference", "reference 'profle' is no baseline: "),
    ({"reference": "plain"}, "reference", "reference 'plain' does not apply to item 'eval-0'"),
    ({"reference": "no-context"}, "reference", "reference 'no-context' does not show the context of item 'eval-0'"),
]


@pytest.mark.parametrize(("changes", "check", "problem"), TASK_PROBLEMS)
def test_what_is_wrong_with_a_task_is_named(changes: dict[str, Any], check: str, problem: str) -> None:
    assert any(problem in line for line in problems(broken(**changes))[check])


JUDGED_PROBLEMS: list[tuple[dict[str, Any], str, str]] = [
    ({"rubric": fail}, "rubrics", "item 'eval-0': rubric() raises KeyError: 'lost'"),
    ({"rubric": lambda self, item: None}, "rubrics", "item 'eval-0': rubric() gives None, not a text"),
    ({"rubric": lambda self, item: " "}, "rubrics", "item 'eval-0': rubric() gives ' ', not a text"),
    ({"rubric": lambda self, item: "Good."}, "rubrics", "item 'eval-0' has the rubric of all 6 users"),
    (
        {"wrong": Good.gold},
        "labels",
        "item 'eval-0': gold 'word0' and wrong 'word0' must differ, and gold must not be empty",
    ),
    ({"gold": lambda self, item: ""}, "labels", "item 'eval-0': gold '' and wrong 'another' must differ"),
    ({"score": fail}, "range", "item 'eval-0': scoring '' raises KeyError: 'lost'"),
]


@pytest.mark.parametrize(("changes", "check", "problem"), JUDGED_PROBLEMS)
def test_what_is_wrong_with_a_judged_task_is_named(changes: dict[str, Any], check: str, problem: str) -> None:
    assert any(problem in line for line in problems(broken(Judged, **changes))[check])


def test_users_must_be_known_for_all_items_or_for_none() -> None:
    def items(self: object, split: Split) -> list[Item]:
        return [replace(item, user_id=None if item.id == "eval-1" else item.user_id) for item in Good().items(split)]

    found = problems(broken(items=items, suite="math"))
    assert found["items"] == ("item 'eval-1' has no user_id, but others have one",)


class Forgetful:
    """A baseline with one fault."""

    name = "forgetful"
    description = "Loses the context."
    uses_context = True

    def __init__(self, gives: Any) -> None:
        self.gives = gives

    def applies(self, task: Task, item: Item) -> bool:
        return True

    def messages(self, item: Item) -> Any:
        return self.gives(item) if callable(self.gives) else self.gives


@pytest.mark.parametrize(
    ("gives", "problem"),
    [
        ((Message("user", "x"),), "leaves out the context 'Likes word0.'"),
        ((), "gives (), not messages"),
        ("text", "gives 'text', not messages"),
        ((Message("assistant", "x"),), "does not end with a user message"),
        (fail, "raises KeyError: 'lost'"),
    ],
)
def test_a_prompt_without_the_context_is_named_with_its_baseline(gives: Any, problem: str) -> None:
    plugins = replace(PLUGINS, baselines={**PLUGINS.baselines, "forgetful": Forgetful(gives)})
    checks = {c.name: c.problems for c in check_task(Good(), plugins, partial(fingerprints, Good()))}
    assert checks["prompts"][0].startswith(f"item 'eval-0': baseline 'forgetful' {problem}")
    assert len(checks["prompts"]) == 6


def test_items_that_change_from_one_reading_to_the_next() -> None:
    class Dice(Good):
        def items(self, split: Split) -> list[Item]:
            return [replace(item, prompt=f"{item.prompt} {random.random()}") for item in super().items(split)]

    assert problems(Dice())["processes"][0].startswith("item 'eval-0' differs in a second process")
