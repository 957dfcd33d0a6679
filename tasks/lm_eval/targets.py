"""The targets of lm-eval's documents as texts, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def target_of(task: Any, doc: Mapping[str, Any]) -> str:
    """The target as text: the first of several targets; empty if lm-eval declares no option right."""
    gold = _gold(task, doc)
    first = gold[0] if isinstance(gold, list) and gold else gold
    if task.config.doc_to_choice is not None and isinstance(first, int):
        choices = task.doc_to_choice(doc)
        return str(choices[first]) if 0 <= first < len(choices) else ""
    return str(first)


def gold_problem(task: Any, doc: Mapping[str, Any]) -> str | None:
    """The reason why lm-eval would count every option of a document as wrong; None if its gold is an option."""
    if task.OUTPUT_TYPE != "multiple_choice" or task.config.process_results is not None:
        return None
    if task.config.doc_to_choice is None:  # a task class, with a rule of its own
        return None
    options, gold = task.doc_to_choice(doc), _gold(task, doc)
    for right in gold if isinstance(gold, list) else [gold]:
        if right in options or (isinstance(right, int) and 0 <= right < len(options)):
            return None
    return f"the gold {gold!r} is none of the options {', '.join(map(repr, options))}"


def _gold(task: Any, doc: Mapping[str, Any]) -> Any:
    """The gold: where the options are contexts, lm-eval has it in place of the text of the prompt."""
    return task.doc_to_text(doc) if getattr(task, "multiple_input", 0) else task.doc_to_target(doc)
