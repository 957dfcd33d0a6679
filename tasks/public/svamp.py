"""SVAMP: simple word problems with varied wording (Patel et al. 2021, arXiv 2103.07191; ChilleD/SVAMP, MIT).

    Body      Ann has 9 pens and 4 cups.
    Question  How many pens more than cups does she have?
    Equation  ( 9.0 - 4.0 )
    Answer    5.0
    prompt    body and question, and a request to end with "#### " and the number
    target    5
    score     1 if the final number of the response equals the target; "(9 - 4) = 5 #### 5" scores 1

The final number follows "####" or "Answer:"; in a response without either, it is the last number. The split is the data
set's own (700 for training, 300 for evaluation). Eight training problems are demonstrations. `SVAMP.json`, which the
authors publish as a test set of 1,000 problems without a split, is read as evaluation alone.
"""

from __future__ import annotations

import re

from mipo_bench.harness.types import Demonstration, Item, Suite
from mipo_bench.tasks.answers import NumberAnswers
from mipo_bench.tasks.data.layout import DataSet, Part
from mipo_bench.tasks.data.rows import DataRow, unique
from mipo_bench.tasks.public.gsm8k import REQUEST, SHOTS
from mipo_bench.tasks.public.public_task import BuiltItems, PublicTask, with_demonstrations

COLUMNS = ("ID", "Body", "Question", "Equation", "Answer")
TRAIN = Part("default", "train", columns=COLUMNS)
TEST = Part("default", "test", columns=COLUMNS, published=("SVAMP.json", "data/SVAMP.json"))


class Svamp(NumberAnswers, PublicTask):
    """Word problems whose answer is one number."""

    name = "svamp"
    suite: Suite = "math"
    version = 1
    description = "SVAMP: simple word problems with varied wording; exact match on the final number."
    binary = True
    reasoning = True
    reference = "plain"
    max_new_tokens = 512
    dataset = DataSet("ChilleD/SVAMP", "5e0bf1e5e7c0e9c4bc39180d224f41f3f801b7ef", "MIT")

    def build(self) -> BuiltItems:
        """One item per problem, with training problems as demonstrations."""
        train, test = self.training_rows(TRAIN), self.rows(TEST)
        unique((*train, *test), "ID")
        pool = [Demonstration(prompt(row), solution(row)) for row in train]
        train_items, eval_items = ([item_of(row) for row in rows] for rows in (train, test))
        return with_demonstrations(train_items, eval_items, pool, SHOTS, "svamp-shots")


def item_of(row: DataRow) -> Item:
    """The item of a row. `Answer` is a number in some copies of the data and a text in others."""
    return Item(row.key("ID"), prompt(row), row.number_text("Answer"))


def prompt(row: DataRow) -> str:
    """The problem, then the required form of the answer."""
    return f"{row.text('Body')} {row.text('Question')}\n{REQUEST}"


def solution(row: DataRow) -> str:
    """The equation with its result, with numbers in plain digits."""
    answer = row.number_text("Answer")
    equation = re.sub(r"\.0\b", "", row.optional("Equation") or "").replace("( ", "(").replace(" )", ")")
    return f"{equation} = {answer}\n#### {answer}" if equation else f"#### {answer}"
