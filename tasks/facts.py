"""Multiple choice on a table of real facts (see `facts_table`).

    prompt  Which city is the capital of France?
            Rome (A)
            Paris (B)
            Oslo (C)
            Bern (D)
    gold    Answer: B
    score   1 if the letter read read from the response, which may name the option instead, is right

Beside it the log-likelihood of the options: `acc` takes the option of the highest summed log-probability, `acc_norm`
divides by its length in bytes first (as lm-eval does). The right position is balanced. The topics of evaluation
questions are absent from the training questions.
"""

from __future__ import annotations

import random
import re
from functools import cache

from mipo_bench.harness.types import Item, Response, Score, Split, Suite, Turn
from mipo_bench.tasks.facts_table import FACTS, OBJECTS, Fact
from mipo_bench.tasks.splits import is_held_out, seeded

LETTERS = "ABCD"
SHOTS = 3


def split_of(fact: Fact) -> Split:
    """The split in which the fact is asked as multiple choice; half of the topics each."""
    return "eval" if is_held_out("facts-topic", fact.topic, one_in=2) else "train"


def options(fact: Fact, position: int, rng: random.Random) -> tuple[str, ...]:
    """Four options with the right one at `position`; the distractors answer the same kind of question."""
    wrong = rng.sample([o for o in OBJECTS[fact.relation] if o != fact.object], len(LETTERS) - 1)
    return (*wrong[:position], fact.object, *wrong[position:])


def ask(question: str, choices: tuple[str, ...]) -> str:
    """The prompt of a multiple-choice question."""
    return "\n".join([question, *(f"{o} ({letter})" for letter, o in zip(LETTERS, choices, strict=True))])


def chosen_letter(response: str, choices: tuple[str, ...]) -> str | None:
    r"""The letter that a response settles on; None where it names none, or several.

    In this order: the letter after the last "answer" ("Answer: B", "the answer is (b)", "\boxed{B}"); a capital with
    a bracket or a full stop, or alone; the single option that the text contains ("Paris.").
    """
    letters = LETTERS[: len(choices)]
    both = letters + letters.lower()
    text = re.sub(r"\\boxed\{(.*?)\}", r"answer: (\1)", response.replace("*", "")).strip()
    after = re.findall(rf"(?i:answer\s*(?:is|:|=)?)\s*(?:\(([{both}])\)|([{letters}])\b|([{both}])\W*$)", text)
    if after:
        return "".join(after[-1]).upper()
    marked = set(re.findall(rf"(?:^|[\s(])([{letters}])(?:[).:]|$)", text))
    if marked:
        return next(iter(marked)) if len(marked) == 1 else None
    named = [
        letter
        for letter, o in zip(letters, choices, strict=True)
        if re.search(rf"(?<!\w){re.escape(o)}(?!\w)", response, re.IGNORECASE)
    ]
    return named[0] if len(named) == 1 else None


class Facts:
    """Four options, one right."""

    name = "facts"
    suite: Suite = "choice"
    version = 1
    description = "Real facts as multiple choice; generated letter, and log-likelihood of the options."
    binary = True
    reasoning = True
    reference = "plain"
    max_new_tokens = 128

    def items(self, split: Split) -> tuple[Item, ...]:
        """One question for each fact of the split."""
        return _items(split)

    def score(self, item: Item, response: Response) -> Score:
        """Exact match on the letter; `acc` and `acc_norm` from the log-likelihoods where there are any."""
        letter = chosen_letter(response.text, item.options)
        parts: dict[str, float] = {}
        if response.option_logprobs is not None:
            right = item.options[LETTERS.index(item.target)]
            normed = [p / len(o.encode()) for p, o in zip(response.option_logprobs, item.options, strict=True)]
            parts["acc"] = float(_argmax(response.option_logprobs, item.options) == right)
            parts["acc_norm"] = float(_argmax(normed, item.options) == right)
        return Score(float(letter == item.target), parts, parsed=letter is not None)

    def gold(self, item: Item) -> str:
        """The right letter."""
        return f"Answer: {item.target}"

    def wrong(self, item: Item) -> str:
        """The next letter."""
        return f"Answer: {LETTERS[(LETTERS.index(item.target) + 1) % len(LETTERS)]}"


def _argmax(values: tuple[float, ...] | list[float], names: tuple[str, ...]) -> str:
    return max(zip(values, names, strict=True), key=lambda pair: pair[0])[1]


@cache
def _items(split: Split) -> tuple[Item, ...]:
    rng = seeded("facts", split)
    facts = [f for f in FACTS if split_of(f) == split]
    positions = [n % len(LETTERS) for n in range(len(facts))]
    rng.shuffle(positions)
    items = []
    for fact, position in zip(facts, positions, strict=True):
        choices = options(fact, position, rng)
        name = f"{fact.relation}-{fact.subject}".lower().replace(" ", "-")
        items.append(
            Item(
                name,
                ask(fact.question, choices),
                LETTERS[position],
                options=choices,
                demonstrations=_shots(name),
            )
        )
    return tuple(items)


def _shots(name: str) -> tuple[Turn, ...]:
    rng = seeded("facts-shots", name)
    shots = []
    for fact in rng.sample([f for f in FACTS if split_of(f) == "train" and f.relation not in name], SHOTS):
        choices = options(fact, rng.randrange(len(LETTERS)), rng)
        shots.append(Turn(ask(fact.question, choices), fact.short_answer))
    return tuple(shots)
