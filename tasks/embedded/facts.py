"""Multiple-choice questions on a table of real facts (see `facts_table`).

    prompt  Which city is the capital of France?
            Rome (A)
            Paris (B)
            Oslo (C)
            Bern (D)
    gold    Answer: B
    score   1 if the response chooses the right option, by letter or by text

If the backend gives log-likelihoods of the options, two further figures are reported. `acc` chooses the option with the
highest summed log-probability; `acc_norm` first divides by the option's length in bytes, as lm-eval does. The right
option is equally often at each position. The topics of evaluation questions are absent from the training questions.
"""

from __future__ import annotations

import random
from functools import cache

from mipo_bench.harness.types import Demonstration, Item, ModelKind, Split, Suite
from mipo_bench.tasks.answers import LetterAnswers
from mipo_bench.tasks.embedded.facts_table import FACTS, OBJECTS, Fact
from mipo_bench.tasks.splits import is_held_out, seeded

LETTERS = "ABCD"
SHOTS = 3


def split_of(fact: Fact) -> Split:
    """The split in which the fact is asked. Each split has about half of the topics."""
    return "eval" if is_held_out("facts-topic", fact.topic, one_in=2) else "train"


def options(fact: Fact, position: int, rng: random.Random) -> tuple[str, ...]:
    """Four options with the right one at `position`. The distractors are objects of the same relation."""
    wrong = rng.sample([o for o in OBJECTS[fact.relation] if o != fact.object], len(LETTERS) - 1)
    return (*wrong[:position], fact.object, *wrong[position:])


def multiple_choice_prompt(question: str, choices: tuple[str, ...]) -> str:
    """The prompt: the question, then one option per line with its letter."""
    return "\n".join([question, *(f"{o} ({letter})" for letter, o in zip(LETTERS, choices, strict=True))])


class Facts(LetterAnswers):
    """Questions with four options, of which one is right."""

    name = "facts"
    suite: Suite = "choice"
    meant_for: ModelKind = "embedded"
    version = 1
    description = "Real facts as multiple choice; generated letter, and log-likelihood of the options."
    binary = True
    reasoning = True
    reference = "plain"
    max_new_tokens = 128

    def items(self, split: Split) -> tuple[Item, ...]:
        """One question for each fact of the split."""
        return _items(split)


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
                multiple_choice_prompt(fact.question, choices),
                LETTERS[position],
                options=choices,
                demonstrations=_shots(name),
            )
        )
    return tuple(items)


def _shots(name: str) -> tuple[Demonstration, ...]:
    rng = seeded("facts-shots", name)
    shots = []
    for fact in rng.sample([f for f in FACTS if split_of(f) == "train" and f.relation not in name], SHOTS):
        choices = options(fact, rng.randrange(len(LETTERS)), rng)
        shots.append(Demonstration(multiple_choice_prompt(fact.question, choices), fact.short_answer))
    return tuple(shots)
