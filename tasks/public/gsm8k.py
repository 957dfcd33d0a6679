"""GSM8K: grade-school word problems (Cobbe et al. 2021, arXiv 2110.14168; openai/gsm8k, configuration `main`, MIT).

    question  A crate holds 12 jars. How many jars do 100 crates hold?
    answer    12 * 100 = <<12*100=1200>>1200 jars.
              #### 1,200
    prompt    the question, and a request to end with "#### " and the number
    target    1200
    score     1 if the final number of the response equals the target; "12 * 100 = 1200. #### 1,200" scores 1

The final number follows "####" or "Answer:"; in a response without either, it is the last number. The split is the data
set's own (7,473 for training, 1,319 for evaluation). Eight training problems are demonstrations, as in the paper,
without the calculator marks `<<...>>`. `lm-eval:gsm8k` gives lm-eval's own prompt and scores.
"""

from __future__ import annotations

import re

from mipo_bench.harness.types import Demonstration, Item, Suite
from mipo_bench.tasks.answers import NumberAnswers
from mipo_bench.tasks.data.layout import DataSet, Part
from mipo_bench.tasks.data.rows import DataRow, plain_number
from mipo_bench.tasks.public.public_task import BuiltItems, PublicTask, content_ids, with_demonstrations

REQUEST = 'End with "#### " and the final number.'
SHOTS = 8
TRAIN, TEST = (
    Part("main", split, columns=("question", "answer"), published=(f"grade_school_math/data/{split}.jsonl",))
    for split in ("train", "test")
)
_MARKS = re.compile(r"<<.*?>>")


class Gsm8k(NumberAnswers, PublicTask):
    """Word problems whose answer is one number."""

    name = "gsm8k"
    suite: Suite = "math"
    version = 1
    description = "GSM8K: grade-school word problems; exact match on the final number."
    binary = True
    reasoning = True
    reference = "plain"
    max_new_tokens = 512
    dataset = DataSet("openai/gsm8k", "740312add88f781978c0658806c59bc2815b9866", "MIT")

    def build(self) -> BuiltItems:
        """One item per problem, with training problems as demonstrations."""
        train, test = self.training_rows(TRAIN), self.rows(TEST)
        pool = [Demonstration(prompt(row), solution(row)) for row in train]
        return with_demonstrations(_items("train", train), _items("eval", test), pool, SHOTS, "gsm8k-shots")


def prompt(row: DataRow) -> str:
    """The question, then the required form of the answer."""
    return f"{row.text('question')}\n{REQUEST}"


def solution(row: DataRow) -> str:
    """The worked answer without calculator marks. The final number is in plain digits."""
    steps = _MARKS.sub("", row.text("answer").rpartition("####")[0]).strip()
    return f"{steps}\n#### {target(row)}"


def target(row: DataRow) -> str:
    """The number after `####`, in plain digits. Raises DataError if there is none."""
    _, mark, number = row.text("answer").rpartition("####")
    if not mark:
        raise row.wrong("answer", 'has no "####" with the number after it')
    return plain_number(row, "answer", number.strip())


def _items(split: str, rows: tuple[DataRow, ...]) -> list[Item]:
    ids = content_ids(split, (row.text("question") for row in rows))
    return [Item(name, prompt(row), target(row)) for name, row in zip(ids, rows, strict=True)]
