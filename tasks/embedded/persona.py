"""Personalized instruction following for invented users (see `persona_world`).

    context  About the user: has heard of football; may be a practitioner; needs prose; does not mind medium answers;
             needs a formal tone; may be called colleague.
    prompt   Give me advice on a broken lamp.
    gold     Colleague, I would advise the following. In daily practice: Switch the power off before you touch anything.
             Take a photo of how the parts fit. Clean every contact with a dry soft cloth. Think of it like football.
    score    the share of the six profile attributes that rules find in the response; 1 for this one

Each attribute is also reported on its own. The figure `topic` tells whether the response still answers the request.
Evaluation and training have disjoint users, profiles and request texts.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache

from mipo_bench.harness.types import Demonstration, Item, ModelKind, Response, Score, Split, Suite
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
KIND_OF = {request.text: request.kind for request in REQUESTS}


class Persona:
    """Requests of users with profiles. Rules check whether a response follows the profile."""

    name = "persona"
    suite: Suite = "personalized"
    meant_for: ModelKind = "embedded"
    version = 1
    description = "Follow the profile of an invented user; six attributes checked by rule."
    binary = False
    reasoning = False
    reference = "profile"
    max_new_tokens = 256

    def items(self, split: Split) -> tuple[Item, ...]:
        """`USERS[split]` users with `REQUESTS_PER_USER[split]` requests each, grouped by user."""
        return _items(split)

    def score(self, item: Item, response: Response) -> Score:
        """The mean over the six attributes. `parts` holds each attribute and `topic`."""
        profile, found = json.loads(item.target), read_profile(response.text)
        parts = {a: float(getattr(found, a) == profile[a]) for a in ATTRIBUTES}
        value = sum(parts.values()) / len(ATTRIBUTES)
        parts["topic"] = on_topic(KIND_OF[item.prompt], response.text)
        return Score(value, parts, parsed=bool(response.text.strip()))

    def gold(self, item: Item) -> str:
        """A response that follows the whole profile."""
        return write(KIND_OF[item.prompt], Profile(**json.loads(item.target)), seeded("gold", item.id))

    def wrong(self, item: Item) -> str:
        """A response that follows a profile with another value for every attribute."""
        profile = json.loads(item.target)
        other = {a: next(v for v in VALUES[a] if v != profile[a]) for a in ATTRIBUTES}
        return write(KIND_OF[item.prompt], Profile(**other), seeded("wrong", item.id))


@cache
def _items(split: Split) -> tuple[Item, ...]:
    return tuple(item for n in range(USERS[split]) for item in _user_items(split, n))


def _user_items(split: Split, n: int) -> list[Item]:
    """The requests of one user. The same two earlier turns, from the training split, precede each request."""
    rng = seeded("persona-user", split, n)
    profile = random_profile(rng)
    while profile_held_out(profile) != (split == "eval"):
        profile = random_profile(rng)
    context = describe(profile, random_firmness(rng), rng)
    requests = rng.sample([r for r in REQUESTS if r.held_out == (split == "eval")], REQUESTS_PER_USER[split])
    past = rng.sample([r for r in REQUESTS if not r.held_out and r not in requests], EARLIER_TURNS)
    turns = tuple(Demonstration(r.text, write(r.kind, profile, rng)) for r in past)
    target = json.dumps(asdict(profile))
    user = f"{split}-user-{n:03d}"
    return [Item(f"{user}-{k}", r.text, target, user, context, demonstrations=turns) for k, r in enumerate(requests)]
