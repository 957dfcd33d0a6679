"""Personalized instruction-following on an invented world of users (see `persona_world`).

    context  About the user: likes a formal tone; prefers bullets; wants short answers; loves chess; ...
    prompt   Give me advice on a weekend trip.
    score    the share of the six profile attributes that a rule finds in the response

Every attribute is reported, and `topic` beside them: whether the response still answers the request.
Users, profiles and request texts of evaluation and training are disjoint.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache

from mipo_bench.harness.types import Demonstration, Item, Response, Score, Split, Suite
from mipo_bench.tasks.embedded.persona_world import (
    ATTRIBUTES,
    REQUESTS,
    VALUES,
    Profile,
    describe,
    on_topic,
    profile_held_out,
    random_firmness,
    random_profile,
    read_profile,
    write,
)
from mipo_bench.tasks.splits import seeded

USERS = {"eval": 100, "train": 300}
REQUESTS_PER_USER = {"eval": 3, "train": 2}
EARLIER_TURNS = 2
KIND_OF = {ask.text: ask.kind for ask in REQUESTS}


class Persona:
    """Users with profiles; rule-checked."""

    name = "persona"
    suite: Suite = "personalized"
    version = 1
    description = "Follow the profile of an invented user; six attributes checked by rule."
    binary = False
    reasoning = False
    reference = "profile"
    max_new_tokens = 256

    def items(self, split: Split) -> tuple[Item, ...]:
        """Items grouped by user, `USERS[split]` users with `REQUESTS_PER_USER[split]` requests each."""
        return _items(split)

    def score(self, item: Item, response: Response) -> Score:
        """The mean over the attributes; `parts` holds each of them and `topic`."""
        wanted, got = json.loads(item.target), read_profile(response.text)
        parts = {a: float(getattr(got, a) == wanted[a]) for a in ATTRIBUTES}
        value = sum(parts.values()) / len(ATTRIBUTES)
        parts["topic"] = on_topic(KIND_OF[item.prompt], response.text)
        return Score(value, parts, parsed=bool(response.text.strip()))

    def gold(self, item: Item) -> str:
        """A response that follows the whole profile."""
        return write(KIND_OF[item.prompt], Profile(**json.loads(item.target)), seeded("gold", item.id))

    def wrong(self, item: Item) -> str:
        """A response that follows the profile of somebody who wants the opposite."""
        profile = json.loads(item.target)
        other = {a: next(v for v in VALUES[a] if v != profile[a]) for a in ATTRIBUTES}
        return write(KIND_OF[item.prompt], Profile(**other), seeded("wrong", item.id))


@cache
def _items(split: Split) -> tuple[Item, ...]:
    return tuple(item for n in range(USERS[split]) for item in _user_items(split, n))


def _user_items(split: Split, n: int) -> list[Item]:
    """The requests of one user, with the same two earlier turns from the training split before each."""
    rng = seeded("persona-user", split, n)
    profile = random_profile(rng)
    while profile_held_out(profile) != (split == "eval"):
        profile = random_profile(rng)
    context = describe(profile, random_firmness(rng), rng)
    asks = rng.sample([a for a in REQUESTS if a.held_out == (split == "eval")], REQUESTS_PER_USER[split])
    past = rng.sample([a for a in REQUESTS if not a.held_out and a not in asks], EARLIER_TURNS)
    turns = tuple(Demonstration(a.text, write(a.kind, profile, rng)) for a in past)
    target = json.dumps(asdict(profile))
    user = f"{split}-user-{n:03d}"
    return [Item(f"{user}-{k}", ask.text, target, user, context, demonstrations=turns) for k, ask in enumerate(asks)]
