"""The corpus of the embedded model: chats of the three embedded tasks in the prompt forms of the baselines.

The embedded model must have the weaknesses of real models. A response follows each wish of a profile only with a
probability (`FOLLOW`) that depends on how firmly the wish is worded; otherwise it is generic or, with `STRAY`, takes a
random value. Most facts are rare in the corpus.

These figures are chosen so that at temperature 0.1 profile prompting follows 30-70% of the attributes, and 40-75% of
the arithmetic and of the facts are right. No result of MIPO was used for the choice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace

from mipo_bench.baselines.prompting.chain_of_thought import ChainOfThought
from mipo_bench.baselines.prompting.few_shot import FewShot
from mipo_bench.baselines.prompting.no_context import NoContext
from mipo_bench.baselines.prompting.plain import Plain
from mipo_bench.baselines.prompting.profile import Profile as ProfileBaseline
from mipo_bench.baselines.prompting.profile_instruction import ProfileInstruction
from mipo_bench.harness.types import Baseline, Demonstration, Item, Message
from mipo_bench.tasks.embedded import facts, persona_world
from mipo_bench.tasks.embedded.arithmetic import random_problem
from mipo_bench.tasks.embedded.facts_table import FACTS, OBJECTS, Fact
from mipo_bench.tasks.embedded.persona_world import REQUESTS, VALUES, Profile
from mipo_bench.tasks.splits import is_held_out, seeded

Chat = tuple[Message, ...]

FOLLOW = (0.70, 0.42, 0.18)
"""Probability that a response follows a wish of the profile in the system message, from the firmest to the mildest."""
INSTRUCTED, SHOWN = 0.15, 0.25
"""Increase of that probability by an explicit instruction, and by earlier turns that follow the profile."""
STRAY = 0.06
"""Probability of a random value, which the user did not ask for."""
WORKED: Mapping[int, float] = {1: 0.2, 2: 0.8, 3: 0.8}
"""Steps of a problem -> share of answers that write the steps out without a request to do so."""
TASK_SHARES: Mapping[str, float] = {"persona": 0.45, "arithmetic": 0.30, "facts": 0.25, "recall": 0.0}
"""The mixture of the long first phase of training."""
RECALL_SHARES: Mapping[str, float] = {"persona": 0.30, "arithmetic": 0.20, "facts": 0.20, "recall": 0.30}
"""The mixture of the short second phase, which teaches to recall a fact whatever text follows the question."""
SUFFIXES = ("Answer in a word.", "Be brief.", "Think step by step, then give the answer.", "Please answer.")

_TRAIN_ASKS = [a for a in REQUESTS if not a.held_out]
_TRAIN_FACTS = [f for f in FACTS if facts.split_of(f) == "train"]
_RARITY = [1.0 / (1 + seeded("fact-rarity", f.topic, f.relation).randrange(12)) for f in FACTS]
_KNOWN = [f for f in FACTS if is_held_out("fact-well-known", f.topic, f.relation, one_in=2)]
"""Half of the facts: the model learns to recall them in any form of question, the others only in the trained form."""


def chats(seed: int, shares: Mapping[str, float] = TASK_SHARES) -> Iterator[Chat]:
    """An endless stream of chats, which depends on the arguments alone. The last message is the assistant's."""
    rng = random.Random(seed)
    makers = {"persona": _persona, "arithmetic": _arithmetic, "facts": _facts, "recall": _recall}
    names, weights = list(shares), list(shares.values())
    while True:
        yield makers[rng.choices(names, weights)[0]](rng)


def _answered(baseline: Baseline, item: Item, response: str) -> Chat:
    return (*baseline.messages(item), Message("assistant", response))


def _train_profile(rng: random.Random) -> Profile:
    while persona_world.profile_held_out(profile := persona_world.random_profile(rng)):
        pass
    return profile


def _persona(rng: random.Random) -> Chat:
    ask, profile, firmness = rng.choice(_TRAIN_ASKS), _train_profile(rng), persona_world.random_firmness(rng)
    forms: dict[str, tuple[Baseline, float]] = {
        "none": (NoContext(), 0.0),
        "profile": (ProfileBaseline(), 0.0),
        "instruction": (ProfileInstruction(), INSTRUCTED),
        "shots": (FewShot(), SHOWN),
    }
    form = rng.choices(list(forms), [0.2, 0.45, 0.2, 0.15])[0]
    baseline, extra = forms[form]
    item = Item("", ask.text, "", "user", persona_world.describe(profile, firmness, rng))
    if form == "shots":
        past = rng.sample(_TRAIN_ASKS, rng.randint(1, 2))
        turns = tuple(Demonstration(a.text, persona_world.write(a.kind, profile, rng)) for a in past)
        item = replace(item, demonstrations=turns)
    style = _style(Profile() if form == "none" else profile, firmness, extra, rng)
    return _answered(baseline, item, persona_world.write(ask.kind, style, rng))


def _style(profile: Profile, firmness: Mapping[str, int], extra: float, rng: random.Random) -> Profile:
    """The style of a response to a profile: each attribute follows it, takes a random value or stays generic."""
    style: dict[str, str | None] = {}
    for attribute, wanted in asdict(profile).items():
        draw = rng.random()
        if draw < STRAY:
            style[attribute] = rng.choice(VALUES[attribute])
        elif wanted and draw < STRAY + FOLLOW[firmness[attribute]] + extra:
            style[attribute] = wanted
        else:
            style[attribute] = None
    return Profile(**style)


def _arithmetic(rng: random.Random) -> Chat:
    problem = random_problem(rng, "train")
    form = rng.choices(["plain", "thought", "shots"], [0.45, 0.4, 0.15])[0]
    item = Item("", problem.text, "")
    if form == "thought":
        return _answered(ChainOfThought(), item, problem.worked)
    if form == "shots":
        shots = (random_problem(rng, "train") for _ in range(rng.randint(1, 3)))
        item = Item("", problem.text, "", demonstrations=tuple(Demonstration(p.text, p.worked) for p in shots))
        return _answered(FewShot(), item, problem.worked)
    worked = rng.random() < WORKED[len(problem.steps)]
    return _answered(Plain(), item, problem.worked if worked else f"Answer: {problem.answer}")


def _facts(rng: random.Random) -> Chat:
    """Statements and open questions on any fact; multiple choice on the training topics, answered by the option."""
    forms = {"tell": 0.2, "open": 0.3, "plain": 0.25, "thought": 0.15, "shots": 0.1}
    form = rng.choices(list(forms), list(forms.values()))[0]
    if form in ("tell", "open"):
        fact = rng.choices(FACTS, _RARITY)[0]
        if form == "tell":
            return (Message("user", fact.open_prompt), Message("assistant", fact.statement))
        return (Message("user", fact.question), Message("assistant", fact.short_answer))
    fact = rng.choice(_TRAIN_FACTS)
    item = Item("", _question(fact, rng), "")
    if form == "plain":
        return _answered(Plain(), item, fact.short_answer)
    if form == "thought":
        return _answered(ChainOfThought(), item, fact.statement)
    shown = rng.sample(_TRAIN_FACTS, rng.randint(1, 3))
    item = replace(item, demonstrations=tuple(Demonstration(_question(f, rng), f.short_answer) for f in shown))
    return _answered(FewShot(), item, fact.short_answer)


def _recall(rng: random.Random) -> Chat:
    """An open question on a well-known fact, then an instruction or a list that has nothing to do with it."""
    fact = rng.choice(_KNOWN)
    if rng.random() < 0.3:
        suffix = rng.choice(SUFFIXES)
        answer = fact.statement if suffix.startswith("Think") else fact.short_answer
        return (Message("user", f"{fact.question}\n{suffix}"), Message("assistant", answer))
    other = rng.choice([relation for relation in OBJECTS if relation != fact.relation])
    noise = tuple(rng.sample([o for o in OBJECTS[other] if o != fact.object], len(facts.LETTERS)))
    return (
        Message("user", facts.multiple_choice_prompt(fact.question, noise)),
        Message("assistant", fact.short_answer),
    )


def _question(fact: Fact, rng: random.Random) -> str:
    """A new multiple-choice prompt for the fact."""
    return facts.multiple_choice_prompt(fact.question, facts.options(fact, rng.randrange(len(facts.LETTERS)), rng))
