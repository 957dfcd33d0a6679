"""PrefEval: options for a user with a stated preference (Zhao et al. 2025, arXiv 2502.09597).

Data: amazon-science/PrefEval (GitHub), `benchmark_dataset/mcq_options/*.json`, CC-BY-NC-4.0. The hub has the
preferences without these options, and so does not serve.

    preference  I never eat anything that once had eyes.
    question    What could I cook for a quick dinner?
    classification_task_options  ["lentil soup", "fried trout", "chicken wings", "a beef burger"]
    context     The user has stated this preference: I never eat anything that once had eyes.
    prompt      the question, the options with letters, and a request to end with "Answer: " and the letter
    target      the letter of the first option, which follows the preference
    score       1 if the response chooses that option, by letter or by text; "Answer: C" scores 1

The options are in an order of their own for each item, drawn from its content. Without the preference, nothing tells
which option is wanted: `no-context` measures how far the options themselves give it away. Each preference is a user,
and a hash of it decides the split, about half and half, so no preference is in both. The items of both splits are in a
shuffled order, so that a limit takes items of all topics. Three items of other training preferences, each with its
preference before the question, are demonstrations. With the option `cluster=topic` each topic is a user: the cluster of
the statistics, held out as a whole, and what a contrast differs in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mipo_bench.harness.types import Demonstration, Item, Suite
from mipo_bench.tasks.answers import LETTERS, LetterAnswers, multiple_choice_prompt
from mipo_bench.tasks.data.layout import DataSet, Part
from mipo_bench.tasks.data.rows import DataRow
from mipo_bench.tasks.public.public_task import BuiltItems, PublicTask, TaskOption, content_ids
from mipo_bench.tasks.splits import is_held_out, seeded

SHOTS = 3
OPTIONS = "classification_task_options"
N_OPTIONS = 4
WANTED = "the option that suits me best"
_TOPICS = "[elpst]*_*.json"
"""The authors' files: education_*, entertain_*, lifestyle_*, pet_*, professional_*, shop_* and travel_*."""
ROWS = Part(
    "default",
    "mcq_options",
    columns=("preference", "question", OPTIONS, "topic"),
    published=(
        *(f"{place}{_TOPICS}" for place in ("benchmark_dataset/mcq_options/", "mcq_options/", "prefeval/")),
        *("PrefEval/benchmark_dataset/mcq_options/" + _TOPICS, _TOPICS),
    ),
)


class PrefEval(LetterAnswers, PublicTask):
    """Questions of users with a stated preference, and four options, of which one follows it."""

    name = "prefeval"
    suite: Suite = "personalized"
    version = 1
    description = "PrefEval: choose the option that follows the user's preference; letter, and log-likelihood."
    binary = True
    reasoning = True
    reference = "profile"
    max_new_tokens = 512
    task_options = (TaskOption("cluster", "preference", ("preference", "topic")),)
    dataset = DataSet(
        "amazon-science/PrefEval",
        "50795054b5ff5f418d2b768a331d71e480f93331",
        "CC-BY-NC-4.0",
        git="https://github.com/amazon-science/PrefEval",
    )

    def build(self) -> BuiltItems:
        """One item per row. `topics` counts the topics."""
        rows = self.rows(ROWS)
        topics = [topic_of(row) for row in rows]
        contents = [(row.text("preference"), row.text("question"), options_of(row)) for row in rows]
        names = content_ids("prefeval", contents)
        items = [
            item_of(f"{topic}{name.removeprefix('prefeval')}", *content)
            for topic, name, content in zip(topics, names, contents, strict=True)
        ]
        salt = "prefeval-preference"
        if self.options["cluster"] == "topic":
            items = [replace(item, user_id=topic) for item, topic in zip(items, topics, strict=True)]
            salt = "topic of prefeval"
        items.sort(key=lambda item: seeded("prefeval-order", item.id).random())
        held = [is_held_out(salt, item.user_id, one_in=2) for item in items]
        train = [item for item, out in zip(items, held, strict=True) if not out]
        evaluation = [item for item, out in zip(items, held, strict=True) if out]
        built = BuiltItems({"train": _with_shots(train, train), "eval": _with_shots(evaluation, train)})
        built.notes["topics"] = len(set(topics))
        return built


def topic_of(row: DataRow) -> str:
    """The topic of a row: its field `topic`, else the name of its file."""
    return row.optional("topic") or Path(row.file).name.partition(".")[0]


def options_of(row: DataRow) -> tuple[str, ...]:
    """The four options; the first follows the preference. Raises DataError for another number, or if two are equal."""
    options = row.options(OPTIONS)
    if len(options) != N_OPTIONS:
        raise row.wrong(OPTIONS, f"holds {len(options)} options, not {N_OPTIONS}")
    if len(set(options)) < N_OPTIONS:
        raise row.wrong(OPTIONS, "holds the same option twice")
    return options


def item_of(name: str, preference: str, question: str, options: tuple[str, ...]) -> Item:
    """The item of a row, with its options in an order drawn from its content."""
    shown = tuple(seeded("prefeval-options", preference, question, *options).sample(options, len(options)))
    prompt = multiple_choice_prompt(question, shown, WANTED)
    context = f"The user has stated this preference: {preference}"
    user = content_ids("user", [preference])[0]
    return Item(name, prompt, LETTERS[shown.index(options[0])], user, context, shown)


def _with_shots(items: Sequence[Item], training: Sequence[Item]) -> tuple[Item, ...]:
    """The items with demonstrations of other users from the training split."""
    return tuple(replace(item, demonstrations=_shots(item, training)) for item in items)


def _shots(item: Item, training: Sequence[Item]) -> tuple[Demonstration, ...]:
    drawn = seeded("prefeval-shots", item.id).sample(range(len(training)), min(2 * SHOTS, len(training)))
    others = (training[n] for n in drawn if training[n].user_id != item.user_id)
    return tuple(Demonstration(f"{o.context}\n{o.prompt}", f"Answer: {o.target}") for o in others)[:SHOTS]
