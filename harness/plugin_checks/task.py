"""All checks of `mipo-bench check-task`: items, gold and wrong responses, odd texts, prompts. No model, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from mipo_bench.harness.plugin_checks.chats import chat_problem, context_problem
from mipo_bench.harness.plugin_checks.items import (
    RAISED,
    CheckResult,
    Elsewhere,
    Items,
    call_plugin,
    disjoint,
    read_items,
    same_items,
    targets,
)
from mipo_bench.harness.plugins.protocol_checks import checked_score, shown
from mipo_bench.harness.plugins.registry import Plugins
from mipo_bench.harness.types import Baseline, Item, JudgedTask, Response, Score, Task

HOSTILE = (
    "",
    " \n\t ",
    "\x00\x07\x1b[31mred\x1b[0m\x7f",
    "word " * 4000,
    "9" * 6000,
    "((((((((((" * 300,
    "\u0664\u0662 \u00bd \uac00 \U0001d7d8 \u202eabc \ufeff e\u0301 \U0001f600",
    "Answer:",
    "Answer: nan",
    "answer is -1e999 or 1/0",
    "None",
    "{'a': [1, null}",
    "%s %d {0} {name} \\1 $&",
    "A B C D (A) (B) (C) (D)",
    "</details><script>alert(1)</script>",
)
"""Odd texts, on which a scorer must not raise."""


def answer(text: str, item: Item) -> Response:
    """The text as a model's response. If it is one of the item's options, that option is by far the most probable."""
    logprobs = tuple(-1.0 if option == text else -50.0 for option in item.options)
    return Response(text, 1, 1, "stop", logprobs if text in item.options else None)


def check_task(task: Task, plugins: Plugins, elsewhere: Elsewhere) -> Iterator[CheckResult]:
    """Run every check in turn; only the first one if the items cannot be used."""
    items, check = read_items(task)
    yield check
    if items is None:
        return
    yield same_items(task, elsewhere)
    yield disjoint(items)
    if isinstance(task, JudgedTask):
        yield _labels(task, items)
        yield _rubrics(task, items)
    else:
        yield targets(items)
        yield _scores("gold", 1.0, task, items)
        yield _scores("wrong", 0.0, task, items)
    yield _within_range(task, items)
    yield _prompts(task, items, plugins.baselines)
    yield _reference(task, items, plugins.baselines)


def _scores(label: str, wanted: float, task: Task, items: Items) -> CheckResult:
    """Check that every gold (or wrong) response of the task scores 1 (or 0)."""
    problems: list[str] = []
    for item in items.all:
        text = _label(label, task, item, problems)
        if text is None:
            continue
        score = _score(f"item {item.id!r}: scoring the {label} response", task, item, text, problems)
        if score is not None and score != wanted:
            problems.append(f"item {item.id!r}: the {label} response {shown(text)} scores {score:g}, not {wanted:g}")
    return CheckResult(label, f"{len(items.all)} responses score {wanted:g}", tuple(problems))


def _label(label: str, task: Task, item: Item, problems: list[str]) -> str | None:
    make = task.gold if label == "gold" else task.wrong
    text = call_plugin(f"item {item.id!r}: {label}()", partial(make, item), problems)
    if isinstance(text, str):
        return text
    problems += [] if text is RAISED else [f"item {item.id!r}: {label}() gives {shown(text)}, not a text"]
    return None


def _labels(task: Task, items: Items) -> CheckResult:
    """Check that the preferred and rejected responses of a judged task are texts that differ."""
    problems: list[str] = []
    for item in items.all:
        gold, wrong = (_label(label, task, item, problems) for label in ("gold", "wrong"))
        if gold is not None and wrong is not None and (gold == wrong or not gold.strip()):
            problems.append(
                f"item {item.id!r}: gold {shown(gold)} and wrong {shown(wrong)} must differ, and gold must not be empty"
            )
    return CheckResult("labels", f"{len(items.all)} pairs of a preferred and a rejected response", tuple(problems))


def _rubrics(task: JudgedTask, items: Items) -> CheckResult:
    problems: list[str] = []
    found: dict[object, set[str]] = {}
    for item in items.all:
        rubric = call_plugin(f"item {item.id!r}: rubric()", partial(task.rubric, item), problems)
        if not isinstance(rubric, str) or not rubric.strip():
            problems += [] if rubric is RAISED else [f"item {item.id!r}: rubric() gives {shown(rubric)}, not a text"]
            continue
        found.setdefault(item.user_id, set()).add(rubric)
    if len(found) > 1 and len(set().union(*found.values())) == 1:
        problems.append(
            f"item {items.all[0].id!r} has the rubric of all {len(found)} users: it must differ between them"
        )
    return CheckResult("rubrics", f"{len(items.all)} rubrics of {len(found)} users", tuple(problems))


def _within_range(task: Task, items: Items) -> CheckResult:
    problems: list[str] = []
    sample = items.sample
    golds = [text for item in sample if (text := _label("gold", task, item, [])) is not None]
    for n, item in enumerate(sample):
        others = [golds[(n + step) % len(golds)] for step in (1, 7)] if golds else []
        for text in (*HOSTILE, item.prompt, *others):
            action = f"item {item.id!r}: scoring {text[:40]!r}{'...' if len(text) > 40 else ''}"
            score = _score(action, task, item, text, problems)
            if score is not None and task.binary and score not in (0, 1):
                problems.append(f"{action} gives {score:g}, but the task says that it is binary")
    return CheckResult(
        "range", f"{len(sample)} items x {len(HOSTILE) + 3} odd responses within [0, 1]", tuple(problems)
    )


def _prompts(task: Task, items: Items, baselines: Mapping[str, Baseline]) -> CheckResult:
    problems: list[str] = []
    example = items.splits["eval"][0]
    fitting = {name: b for name, b in sorted(baselines.items()) if _applies(b, task, example, problems)}
    for name, baseline in fitting.items():
        for item in items.all:
            action = f"item {item.id!r}: baseline {name!r}"
            messages = call_plugin(action, partial(baseline.messages, item), problems)
            context = item.context if baseline.uses_context else None
            problem = None if messages is RAISED else chat_problem(messages, item) or context_problem(messages, context)
            problems += [f"{action} {problem}"] if problem else []
    if not fitting and not problems:
        problems.append(
            f"no baseline applies, as seen by item {example.id!r}: {', '.join(sorted(baselines)) or 'none'}"
        )
    done = f"{len(fitting) * len(items.all)} prompts by {', '.join(fitting)}"
    return CheckResult("prompts", done, tuple(problems))


def _reference(task: Task, items: Items, baselines: Mapping[str, Baseline]) -> CheckResult:
    problems: list[str] = []
    example, baseline = items.splits["eval"][0], baselines.get(task.reference)
    if baseline is None:
        problems.append(f"reference {task.reference!r} is no baseline: {', '.join(sorted(baselines))}")
    elif not _applies(baseline, task, example, problems):
        problems.append(f"reference {task.reference!r} does not apply to item {example.id!r}")
    elif example.context and not baseline.uses_context:
        problems.append(f"reference {task.reference!r} does not show the context of item {example.id!r}")
    return CheckResult("reference", f"{task.reference} applies", tuple(problems))


def _applies(baseline: Baseline, task: Task, item: Item, problems: list[str]) -> bool:
    action = f"item {item.id!r}: whether baseline {baseline.name!r} applies"
    return call_plugin(action, partial(baseline.applies, task, item), problems) is True


def _score(action: str, task: Task, item: Item, text: str, problems: list[str]) -> float | None:
    """The score of a text; None if it is not valid, which is added to `problems`."""
    score = call_plugin(action, partial(task.score, item, answer(text, item)), problems)
    if score is RAISED:
        return None
    if not isinstance(score, Score):
        problems.append(f"{action} gives {shown(score)}, not a Score")
        return None
    try:
        return checked_score(score).value
    except ValueError as error:
        problems.append(f"{action}: {error}")
        return None
