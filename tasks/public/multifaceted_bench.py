"""Multifaceted-Bench: prompts under several system messages, each with its rubrics.

Data: kaist-ai/Multifaceted-Bench, CC-BY-4.0.
Paper: Lee et al. 2024, "Aligning to Thousands of Preferences via System Message Generalization", arXiv 2405.17977.

    system            You write for readers who love detail and dislike jargon ...
    prompt            Explain how tides work.
    reference_answer  an answer that follows the system message
    rubrics           four of {criteria, score_descriptions: {"1": ..., "5": ...}}
    context           the system message
    gold, wrong       the reference answer, and the reference answer for the same prompt under another system message
    score             a judge's verdict on the rubrics; also reported: `word_f1`, the overlap with the reference answer

The data set has one split. Half of its prompts, with all their system messages, form the evaluation split. If a prompt
has only one system message, `wrong` is the reference answer to another prompt; such items are counted.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence

from mipo_bench.harness.types import Item, Split
from mipo_bench.tasks.data.layout import DataSet, Part
from mipo_bench.tasks.data.rows import DataRow
from mipo_bench.tasks.public.preference_task import PreferenceTask, preference_target
from mipo_bench.tasks.public.public_task import BuiltItems, content_ids
from mipo_bench.tasks.splits import is_held_out

ROWS = Part("default", "train", ("multifaceted_bench",), ("system", "prompt", "reference_answer", "rubrics"))
OFF_TOPIC = "items whose `wrong` answers another prompt"
HELD_SYSTEM = "training rows with a system message of the evaluation"
NO_OTHER = "rows without any other answer"


class MultifacetedBench(PreferenceTask):
    """Prompts with a system message; a judge decides by the rubrics which response follows it better."""

    name = "multifaceted_bench"
    description = "Multifaceted-Bench: answer as a system message with several preferences asks; judged by rubrics."
    max_new_tokens = 1024
    dataset = DataSet("kaist-ai/Multifaceted-Bench", "main", "CC-BY-4.0")

    def build(self) -> BuiltItems:
        """One item per row."""
        rows = self.rows(ROWS)
        built, items = BuiltItems({}), defaultdict[Split, list[Item]](list)
        ids = content_ids("row", ((row.text("system"), row.text("prompt")) for row in rows))
        answers = _answers(rows)
        eval_systems = {row.text("system") for row in rows if _held_out(row)}
        for name, row in zip(ids, rows, strict=True):
            rejected, off_topic = _other_answer(row, answers)
            if rejected is None:
                built.left_out[NO_OTHER] += 1
            elif not _held_out(row) and row.text("system") in eval_systems:
                built.left_out[HELD_SYSTEM] += 1
            else:
                built.notes.update([OFF_TOPIC] if off_topic else [])
                items["eval" if _held_out(row) else "train"].append(_item(name, row, rejected))
        built.items |= {"train": tuple(items["train"]), "eval": tuple(items["eval"])}
        return built

    def rubric(self, item: Item) -> str:
        """The criteria of the row, each with the meaning of its scores."""
        return str(json.loads(item.target)["rubric"])


def _answers(rows: Sequence[DataRow]) -> dict[str, list[str]]:
    """Prompt -> its reference answers, in the order of the rows."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        found[row.text("prompt")].append(row.text("reference_answer"))
    return found


def _other_answer(row: DataRow, answers: Mapping[str, Sequence[str]]) -> tuple[str | None, bool]:
    """A reference answer other than the row's, and whether it answers another prompt; None if all are the same."""
    prompt, reference = row.text("prompt"), row.text("reference_answer")
    for answer in answers[prompt]:
        if answer != reference:
            return answer, False
    return next((a for p, found in answers.items() if p != prompt for a in found if a != reference), None), True


def _item(name: str, row: DataRow, rejected: str) -> Item:
    """The item of a row. Rows with the same system message are items of the same user."""
    system = row.text("system")
    user = f"user-{hashlib.sha256(system.encode()).hexdigest()[:12]}"
    return Item(
        name, row.text("prompt"), preference_target(row.text("reference_answer"), rejected, rubric(row)), user, system
    )


def _held_out(row: DataRow) -> bool:
    return is_held_out("multifaceted-prompt", row.text("prompt"), one_in=2)


def rubric(row: DataRow) -> str:
    """The rubrics of a row as text. Raises DataError if there are none."""
    rubrics = row.mappings("rubrics")
    if not rubrics:
        raise row.wrong("rubrics", "is an empty list")
    return "\n\n".join(_one_rubric(part) for part in rubrics)


def _one_rubric(part: DataRow) -> str:
    scale = part.mapping("score_descriptions")
    levels = [f"{score}: {text}" for score in sorted(scale.values) if (text := scale.optional(score))]
    return "\n".join([part.text("criteria"), *levels])
