"""MMLU: exam questions in 57 subjects (Hendrycks et al. 2021, arXiv 2009.03300; cais/mmlu, configuration `all`, MIT).

    question  Which of these is a noble gas?      choices  ["iron", "neon", "zinc", "lead"]
    subject   high_school_chemistry               answer   1
    prompt    the question, the options with letters, and a request to end with "Answer: " and the letter
    target    B
    score     1 if the response chooses the right option, by letter or by text; "Answer: B" scores 1

The evaluation split is `test` (14,042 questions). The training split is `auxiliary_train` (99,842 questions of other
exams, without a subject); `--set pairs.limit=2000` shortens training. Five questions of the same subject in `dev` are
demonstrations. `lm-eval:mmlu` gives lm-eval's own prompts and scores: log-likelihoods of the letters.

The authors publish folders of CSV files without a header, one for each subject (`test/anatomy_test.csv`): question,
four options, letter. The letter is read in other files as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mipo_bench.harness.types import Demonstration, Item, Suite
from mipo_bench.tasks.answers import LETTERS, LetterAnswers, multiple_choice_prompt
from mipo_bench.tasks.data.layout import DataSet, Part
from mipo_bench.tasks.data.rows import DataRow
from mipo_bench.tasks.public.public_task import BuiltItems, PublicTask, content_ids, with_shots

SHOTS = 5
OPTIONS = ("A", "B", "C", "D")
"""The columns of the options in the authors' CSV files."""
HEADERLESS = ("question", *OPTIONS, "answer")
COLUMNS = (*HEADERLESS, "subject", "choices")
TRAIN, DEV, TEST = (
    Part(
        *("all", split),
        columns=COLUMNS,
        published=(f"{split}/{files}", f"data/{split}/{files}"),
        headerless=HEADERLESS,
    )
    for split, files in (("auxiliary_train", "*.csv"), ("dev", "*_dev.csv"), ("test", "*_test.csv"))
)


class Mmlu(LetterAnswers, PublicTask):
    """Questions with four options, of which one is right."""

    name = "mmlu"
    suite: Suite = "choice"
    version = 1
    description = "MMLU: exam questions in 57 subjects; generated letter, and log-likelihood of the options."
    binary = True
    reasoning = True
    reference = "plain"
    max_new_tokens = 512
    dataset = DataSet("cais/mmlu", "c30699e8356da336a370243923dbaf21066bb9fe", "MIT")

    def build(self) -> BuiltItems:
        """One item per question, with `dev` questions of its subject as demonstrations."""
        test = _items("eval", self.rows(TEST))
        eval_prompts = {q.item.prompt for q in test}
        dev = [q for q in _items("dev", self.rows_if_there(DEV)) if q.item.prompt not in eval_prompts]
        train = _items("train", self.training_rows(TRAIN))
        return BuiltItems({"train": _with_dev_shots(train, dev), "eval": _with_dev_shots(test, dev)})


@dataclass(frozen=True, slots=True)
class _Question:
    """An item with its subject. The subject is empty in `auxiliary_train`."""

    subject: str
    item: Item


def _items(prefix: str, rows: Sequence[DataRow]) -> list[_Question]:
    """The questions in the order of the rows."""
    found = [(subject_of(row), row.text("question"), options_of(row)) for row in rows]
    letters = [answer_of(row, len(options)) for row, (*_, options) in zip(rows, found, strict=True)]
    return [
        _Question(subject, Item(name, multiple_choice_prompt(question, options), letter, options=options))
        for name, letter, (subject, question, options) in zip(content_ids(prefix, found), letters, found, strict=True)
    ]


def subject_of(row: DataRow) -> str:
    """The subject of a row, else the one that the authors' file names (`anatomy_test.csv`); empty if there is none."""
    name, underscore, split = Path(row.file).name.partition(".")[0].rpartition("_")
    return row.optional("subject") or (name if underscore and split in ("test", "dev") else "")


def options_of(row: DataRow) -> tuple[str, ...]:
    """The options, from `choices` or from the four columns of the authors' files."""
    if "choices" not in row.values and "A" in row.values:
        return tuple(row.text(letter) for letter in OPTIONS)
    return row.options("choices")


def answer_of(row: DataRow, options: int) -> str:
    """The letter of the right option, from a letter or a position from 0. Raises DataError for any other value."""
    value = row.value("answer")
    letters = LETTERS[:options]
    if isinstance(value, str) and value.strip() in [*letters]:
        return value.strip()
    return letters[row.whole("answer", below=options)]


def _with_dev_shots(questions: Sequence[_Question], dev: Sequence[_Question]) -> tuple[Item, ...]:
    """The items with demonstrations of the same subject, or of any subject if there are none of the same."""
    pools: dict[str, list[Demonstration]] = defaultdict(list)
    for q in dev:
        pools[q.subject].append(Demonstration(q.item.prompt, f"Answer: {q.item.target}"))
    every = [turn for pool in pools.values() for turn in pool]
    return tuple(
        item for q in questions for item in with_shots([q.item], pools.get(q.subject) or every, SHOTS, "mmlu-shots")
    )
