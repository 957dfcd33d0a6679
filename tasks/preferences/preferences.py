"""Personalized instruction following that any chat model can be scored on without a judge.

    context  A note from the user about the answers they like: I study geology. Please stay under 40 words. Call me
             Greta when you answer. Finish by asking me something. No emoji, please.
    prompt   Can I freeze cooked pasta?
    response Greta, you can freeze cooked pasta for up to two months. Cool it first and add a little oil. Will you eat
             it with a sauce?
    score    the share of the preferences that count which the response meets; 1 for this one

Each preference is of a kind with a check by rule or library (`kinds`). It is checked only on requests where it makes
sense, and counts only if responses without any context rarely meet it (`base_rates`): "no emoji" does not. Every
kind is reported on its own, whether it counts or not. A response that is no answer (`checks.no_answer`) scores 0.
Evaluation and training have disjoint users, names, requests and combinations of kinds.
"""

from __future__ import annotations

from functools import cache

from mipo_bench.harness.types import Item, ModelKind, Response, Score, Split, Suite
from mipo_bench.tasks.preferences.checks.no_answer import is_answer
from mipo_bench.tasks.preferences.checks.response_text import ResponseText
from mipo_bench.tasks.preferences.kinds import Preference, of_target
from mipo_bench.tasks.preferences.model_answers import write
from mipo_bench.tasks.preferences.past_requests import ENGLISH, PAST_REQUESTS
from mipo_bench.tasks.preferences.requests import TAGS_OF
from mipo_bench.tasks.preferences.users import all_items, counts
from mipo_bench.tasks.splits import seeded

USERS = {"eval": 100, "train": 300}
REQUESTS_PER_USER = {"eval": 3, "train": 2}


class Preferences:
    """Requests of users who have said how they like their answers. Checks tell whether a response complies."""

    name = "preferences"
    suite: Suite = "personalized"
    version = 1
    description = "Follow four to six stated preferences of a user, each checked by rule."
    binary = False
    reasoning = False
    reference = "profile"
    max_new_tokens = 160
    meant_for: ModelKind = "real"

    def items(self, split: Split) -> tuple[Item, ...]:
        """`USERS[split]` users with `REQUESTS_PER_USER[split]` requests each, grouped by user."""
        return _items(split)

    def score(self, item: Item, response: Response) -> Score:
        """The mean over the preferences that count; `parts` holds every preference that can be checked, by kind."""
        read, preferences = ResponseText(response.text), checkable(item)
        answered = is_answer(read, f"{item.context or ''}\n{item.prompt}")
        parts = {p.kind: float(answered and p.met_by(read)) for p in preferences}
        counted = [parts[p.kind] for p in preferences if counts(p)]
        return Score(sum(counted) / len(counted), parts, parsed=answered)

    def gold(self, item: Item) -> str:
        """A response that meets all the preferences; it answers another request."""
        preferences = checkable(item)
        language = next((p.value for p in preferences if p.kind == "language"), ENGLISH)
        fitting = [past for past in PAST_REQUESTS if language in past.tips]
        return write(seeded("gold", item.id).choice(fitting), preferences)

    def wrong(self, item: Item) -> str:
        """The user's own note, copied: it states every preference and answers nothing."""
        return item.context or ""


def checkable(item: Item) -> tuple[Preference, ...]:
    """The preferences of the item's target that can be checked on its request."""
    return tuple(p for p in of_target(item.target) if p.concerns(TAGS_OF[item.prompt]))


@cache
def _items(split: Split) -> tuple[Item, ...]:
    return tuple(all_items(split, USERS[split], REQUESTS_PER_USER[split]))
