"""The users: their preferences, the notes in which they state them, their requests and their earlier turns."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from mipo_bench.harness.types import Demonstration, Item, Split
from mipo_bench.tasks.preferences.base_rates import BASE_RATES, COUNTED_BELOW
from mipo_bench.tasks.preferences.kinds import (
    EVALUATION_NAMES,
    KINDS,
    LENGTHS,
    TRAINING_NAMES,
    Preference,
    compatible,
    to_target,
)
from mipo_bench.tasks.preferences.model_answers import write
from mipo_bench.tasks.preferences.past_requests import ENGLISH, PAST_REQUESTS
from mipo_bench.tasks.preferences.requests import REQUESTS, Request
from mipo_bench.tasks.preferences.wordings import FRAME, INTRODUCTIONS, SHOWN, WORDINGS
from mipo_bench.tasks.splits import is_held_out, seeded

FEWEST, MOST = 4, 6
MOST_CONDITIONAL = 2
"""Every user has one or two preferences that depend on the request; one beside a number of sentences."""
FEWEST_COUNTED = 2
"""Preferences that count and that can be checked on every request: no item is without any."""
EARLIER_TURNS = 2
NAMES = {"eval": EVALUATION_NAMES, "train": TRAINING_NAMES}


def user_items(split: Split, n: int, requests: int) -> list[Item]:
    """The items of one user: the same note and earlier turns, and different requests of the split."""
    rng = seeded("preferences-user", split, n)
    preferences = draw_preferences(split, rng)
    note = write_note(preferences, rng)
    turns = _earlier_turns(preferences, rng)
    user, target = f"{split}-user-{n:03d}", to_target(preferences)
    return [
        Item(f"{user}-{k}", request.text, target, user, note, demonstrations=turns)
        for k, request in enumerate(_draw_requests(split, preferences, requests, rng))
    ]


def draw_preferences(split: Split, rng: random.Random) -> tuple[Preference, ...]:
    """Compatible preferences whose combination of kinds belongs to the split."""
    while True:
        found = _draw(split, rng)
        universal = sum(counts(p) and not KINDS[p.kind].about for p in found)
        if len(found) >= FEWEST and universal >= FEWEST_COUNTED and combination_held_out(found) == (split == "eval"):
            return found


def combination_held_out(preferences: Sequence[Preference]) -> bool:
    """Whether a user with these kinds belongs to the evaluation split. One combination in four does."""
    return is_held_out("preferences-kinds", *sorted(p.kind for p in preferences), one_in=4)


def counts(preference: Preference) -> bool:
    """Whether the preference counts towards the score: responses without context rarely meet it."""
    return BASE_RATES[preference.measured_as] < COUNTED_BELOW


def _draw(split: Split, rng: random.Random) -> tuple[Preference, ...]:
    size, kinds = rng.randint(FEWEST, MOST), [rng.choice(LENGTHS)]
    conditional = 1 if kinds == ["sentences"] else rng.randint(1, MOST_CONDITIONAL)
    for names, upto in ((_names(conditional=False), size - conditional), (_names(conditional=True), size)):
        for kind in rng.sample(names, len(names)):
            if len(kinds) < upto and compatible([*kinds, kind]):
                kinds.append(kind)
    return tuple(Preference(kind, rng.choice(NAMES[split] if kind == "name" else KINDS[kind].values)) for kind in kinds)


def _names(*, conditional: bool) -> list[str]:
    """The kinds, lengths left out, that depend on the request or do not."""
    return sorted(name for name, kind in KINDS.items() if bool(kind.about) == conditional and name not in LENGTHS)


def write_note(preferences: Sequence[Preference], rng: random.Random) -> str:
    """The note of a user: an introduction, then each preference in one of its wordings, in random order."""
    sentences = [_worded(preference, rng) for preference in rng.sample(list(preferences), len(preferences))]
    return FRAME + " ".join([rng.choice(INTRODUCTIONS), *sentences])


def _worded(preference: Preference, rng: random.Random) -> str:
    shown = SHOWN.get(preference.kind, {}).get(preference.value, preference.value)
    sentence = rng.choice(WORDINGS[preference.kind]).format(shown)
    return sentence[0].upper() + sentence[1:]


def _draw_requests(split: Split, preferences: Sequence[Preference], n: int, rng: random.Random) -> list[Request]:
    """Different requests: for each preference that depends on the request, one on which it can be checked."""
    own = [request for request in REQUESTS if request.held_out == (split == "eval")]
    tags = list(dict.fromkeys(KINDS[p.kind].about for p in preferences if KINDS[p.kind].about))
    chosen: list[Request] = []
    for tag in tags:
        chosen.append(rng.choice([r for r in own if tag in r.tags and r not in chosen]))
    chosen += rng.sample([r for r in own if r not in chosen], max(0, n - len(chosen)))
    return rng.sample(chosen[:n], n)


def _earlier_turns(preferences: Sequence[Preference], rng: random.Random) -> tuple[Demonstration, ...]:
    """Earlier requests with responses that follow every preference that can be checked on them."""
    fitting = [p for p in preferences if p.concerns(())]
    language = next((p.value for p in preferences if p.kind == "language"), ENGLISH)
    past = rng.sample([request for request in PAST_REQUESTS if language in request.tips], EARLIER_TURNS)
    return tuple(Demonstration(request.text, write(request, fitting)) for request in past)


def all_items(split: Split, users: int, requests: int) -> Iterator[Item]:
    """The items of all users, grouped by user."""
    for n in range(users):
        yield from user_items(split, n, requests)
