"""Arithmetic word problems of one to three steps with worked answers.

    prompt  Mia has 14 coins. She finds 9 more coins and then loses 5. How many coins does she have?
    gold    14 + 9 = 23. 23 - 5 = 18. Answer: 18
    score   1 if the last number after "Answer:" (or, without one, the last number) equals the target

Evaluation and training problems use disjoint combinations of numbers. A response without any number is counted as
unparsed and scores 0.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from mipo_bench.harness.types import Demonstration, Item, ModelKind, Split, Suite
from mipo_bench.tasks.answers import NumberAnswers
from mipo_bench.tasks.splits import is_held_out, seeded

SIZES = {"eval": 300, "train": 600}
SHOTS = 3
NAMES = ("Mia", "Tom", "Ada", "Ben", "Eva", "Max", "Zoe", "Sam")
THINGS = ("coins", "books", "apples", "cards", "stamps", "shells", "pens", "marbles")


@dataclass(frozen=True, slots=True)
class Problem:
    """A word problem: the text, the numbers in it, and the steps of the solution as (left, operator, right)."""

    text: str
    numbers: tuple[int, ...]
    steps: tuple[tuple[int, str, int], ...]

    @property
    def answer(self) -> int:
        """The result of the last step."""
        return _result(*self.steps[-1])

    @property
    def worked(self) -> str:
        """The worked answer: one equation per step, then the result."""
        equations = (f"{a} {op} {b} = {_result(a, op, b)}." for a, op, b in self.steps)
        return " ".join(equations) + f" Answer: {self.answer}"

    @property
    def split(self) -> Split | None:
        """The split of these numbers, in any order. One combination in five belongs to evaluation.

        None for a training problem that has a held-out sum or difference as one of its steps. Such problems are unused.
        """
        if _held_out(self.numbers):
            return "eval"
        return None if any(_held_out((a, b)) for a, op, b in self.steps if op != "*") else "train"


def _held_out(numbers: tuple[int, ...]) -> bool:
    return is_held_out("arithmetic-numbers", *sorted(numbers), one_in=5)


def _result(a: int, op: str, b: int) -> int:
    return {"+": a + b, "-": a - b, "*": a * b}[op]


def _add(rng: random.Random, name: str, thing: str) -> Problem:
    a, b = rng.randint(2, 49), rng.randint(2, 49)
    text = f"{name} has {a} {thing}. {name} gets {b} more {thing}. How many {thing} does {name} have now?"
    return Problem(text, (a, b), ((a, "+", b),))


def _subtract(rng: random.Random, name: str, thing: str) -> Problem:
    a = rng.randint(12, 79)
    b = rng.randint(2, a - 1)
    text = f"{name} has {a} {thing}. {name} gives away {b} {thing}. How many {thing} does {name} have now?"
    return Problem(text, (a, b), ((a, "-", b),))


def _gain_and_loss(rng: random.Random, name: str, thing: str) -> Problem:
    a, b = rng.randint(5, 49), rng.randint(5, 39)
    c = rng.randint(2, a + b - 1)
    text = f"{name} has {a} {thing}, finds {b} more and then loses {c}. How many {thing} are left?"
    return Problem(text, (a, b, c), ((a, "+", b), (a + b, "-", c)))


def _boxes(rng: random.Random, name: str, thing: str) -> Problem:
    a, b, c = rng.randint(2, 9), rng.randint(2, 9), rng.randint(2, 29)
    text = f"{name} has {a} boxes with {b} {thing} each and {c} loose {thing}. How many {thing} is that in all?"
    return Problem(text, (a, b, c), ((a, "*", b), (a * b, "+", c)))


def _shop(rng: random.Random, name: str, thing: str) -> Problem:
    a, b, c = rng.randint(2, 9), rng.randint(2, 9), rng.randint(2, 9)
    d = rng.randint(1, a * b + c - 1)
    text = (
        f"{name} buys {a} bags of {b} {thing}, gets {c} {thing} from a friend and sells {d}. How many {thing} remain?"
    )
    steps = ((a, "*", b), (a * b, "+", c), (a * b + c, "-", d))
    return Problem(text, (a, b, c, d), steps)


TEMPLATES: tuple[Callable[[random.Random, str, str], Problem], ...] = (
    _add,
    _subtract,
    _gain_and_loss,
    _boxes,
    _shop,
)


def random_problem(rng: random.Random, split: Split) -> Problem:
    """A random problem whose numbers belong to the split."""
    while True:
        problem = rng.choice(TEMPLATES)(rng, rng.choice(NAMES), rng.choice(THINGS))
        if problem.split == split:
            return problem


class Arithmetic(NumberAnswers):
    """Word problems whose answer is one number."""

    name = "arithmetic"
    suite: Suite = "math"
    meant_for: ModelKind = "embedded"
    version = 1
    description = "Word problems of one to three steps; exact match on the final number."
    binary = True
    reasoning = True
    reference = "plain"
    max_new_tokens = 256
    answer_mark = "Answer:"

    def items(self, split: Split) -> tuple[Item, ...]:
        """`SIZES[split]` problems with different texts."""
        return _items(split)


@cache
def _items(split: Split) -> tuple[Item, ...]:
    rng = seeded("arithmetic", split)
    problems: dict[str, Problem] = {}
    while len(problems) < SIZES[split]:
        problem = random_problem(rng, split)
        problems.setdefault(problem.text, problem)
    return tuple(
        Item(f"{split}-{n:04d}", p.text, str(p.answer), demonstrations=_shots(split, n))
        for n, p in enumerate(problems.values())
    )


def _shots(split: Split, n: int) -> tuple[Demonstration, ...]:
    rng = seeded("arithmetic-shots", split, n)
    problems = (random_problem(rng, "train") for _ in range(SHOTS))
    return tuple(Demonstration(p.text, p.worked) for p in problems)
