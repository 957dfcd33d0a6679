"""ARC: grade-school science questions (Clark et al. 2018, arXiv 1803.05457; allenai/ai2_arc, CC-BY-SA-4.0).

    question   Which of these is a solid?
    choices    {"text": ["ice", "steam", "rain"], "label": ["1", "2", "3"]}
    answerKey  1
    prompt     the question, the options with letters, and a request to end with "Answer: " and the letter
    target     A
    score      1 if the response chooses the right option, by letter or by text; "Answer: A" scores 1

Questions have three to five options. The data set labels some options with numbers; the prompt always shows letters.
The splits are the data set's own; `validation` is not used. Five training questions are demonstrations. The files that
the authors publish (`ARC-Challenge-Test.jsonl`) have question and options as `{"stem": ..., "choices": [{"text": ...,
"label": ...}]}` under `question`.
`lm-eval:arc_easy` and `lm-eval:arc_challenge` give lm-eval's own scores: log-likelihoods of the options, which its
prompts do not show.
"""

from __future__ import annotations

from typing import ClassVar

from mipo_bench.harness.types import Demonstration, Item, Suite
from mipo_bench.tasks.answers import LETTERS, LetterAnswers, multiple_choice_prompt
from mipo_bench.tasks.data.layout import DataSet, Part
from mipo_bench.tasks.data.rows import DataRow, unique
from mipo_bench.tasks.public.public_task import BuiltItems, PublicTask, with_demonstrations

SHOTS = 5
COLUMNS = ("id", "question", "choices", "answerKey")


class _Arc(LetterAnswers, PublicTask):
    """Base of both parts of ARC. `config` is the data set's configuration."""

    config: ClassVar[str]
    suite: Suite = "choice"
    version = 1
    binary = True
    reasoning = True
    reference = "plain"
    max_new_tokens = 512
    dataset = DataSet(
        "allenai/ai2_arc", "210d026faf9955653af8916fad021475a3f00453", "CC-BY-SA-4.0", several_configs=True
    )

    def build(self) -> BuiltItems:
        """One item per question, with training questions as demonstrations."""
        train, test = self.training_rows(self._part("train")), self.rows(self._part("test"))
        unique((*train, *test), "id")
        train_items, eval_items = ([item_of(row) for row in rows] for rows in (train, test))
        pool = [Demonstration(item.prompt, f"Answer: {item.target}") for item in train_items]
        return with_demonstrations(train_items, eval_items, pool, SHOTS, "arc-shots")

    def _part(self, split: str) -> Part:
        name = f"{self.config}-{split.capitalize()}.jsonl"
        places = ("", f"{self.config}/", f"*/{self.config}/")
        return Part(self.config, split, columns=COLUMNS, published=tuple(f"{place}{name}" for place in places))


class ArcChallenge(_Arc):
    """The questions that both a retrieval and a word co-occurrence method answered wrongly."""

    name = "arc_challenge"
    config = "ARC-Challenge"
    description = "ARC-Challenge: science questions; generated letter, and log-likelihood of the options."


class ArcEasy(_Arc):
    """The questions that at least one of these methods answered rightly."""

    name = "arc_easy"
    config = "ARC-Easy"
    description = "ARC-Easy: science questions; generated letter, and log-likelihood of the options."


def item_of(row: DataRow) -> Item:
    """The item of a row. Raises DataError unless `answerKey` is the label of exactly one option."""
    question, options, labels = _as_published(row) if row.holds_object("question") else _as_on_the_hub(row)
    key = row.key("answerKey")
    if labels.count(key) != 1:
        raise row.wrong("answerKey", f"is {key!r}; the labels are {', '.join(labels)}")
    prompt = multiple_choice_prompt(question, options)
    return Item(row.key("id"), prompt, LETTERS[labels.index(key)], options=options)


def _as_on_the_hub(row: DataRow) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Question, options and labels of a row of the hub's files."""
    choices = row.mapping("choices")
    options, labels = choices.options("text"), choices.keys("label")
    if len(labels) != len(options):
        raise choices.wrong("label", f"holds {len(labels)} labels for {len(options)} options")
    return row.text("question"), options, labels


def _as_published(row: DataRow) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Question, options and labels of a row of the authors' files."""
    question = row.mapping("question")
    choices = question.mappings("choices")
    options = question.checked_options("choices", [choice.text("text") for choice in choices])
    return question.text("stem"), options, tuple(choice.key("label") for choice in choices)
