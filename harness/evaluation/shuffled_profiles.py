"""The shuffled-profile control: another user's profile for each user, against which the responses are scored."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.harness.types import Item, Task

_SHUFFLES = 50
"""Shuffles that are tried, to find one that gives nobody a profile equal to their own."""


def other_user_of(items: Sequence[Item]) -> Mapping[str, Item]:
    """Item -> an item of another user, whose profile replaces its own.

    The shuffle of users is the same for every arm, and maps no user to itself. Empty where an item lacks a user or a
    context, or where all users have the same profile.
    """
    by_user: dict[str, list[Item]] = {}
    for item in items:
        if item.user_id is None or not item.context:
            return {}
        by_user.setdefault(item.user_id, []).append(item)
    if len({group[0].context for group in by_user.values()}) < 2:
        return {}
    users, rng = sorted(by_user), random.Random(seed_of("strangers", *sorted(by_user)))
    rounds = (_each_to_next(rng.sample(users, len(users))) for _ in range(_SHUFFLES))
    chosen = min(rounds, key=lambda other: sum(_have_equal_profiles(by_user[u], by_user[v]) for u, v in other.items()))
    return {
        item.id: by_user[chosen[user]][n % len(by_user[chosen[user]])]
        for user, group in by_user.items()
        for n, item in enumerate(group)
    }


def _each_to_next(users: Sequence[str]) -> dict[str, str]:
    """Each user -> the next user: a permutation without a fixed point."""
    return dict(zip(users, (*users[1:], users[0]), strict=True))


def _have_equal_profiles(one: Sequence[Item], other: Sequence[Item]) -> bool:
    return one[0].context == other[0].context


def in_place_of(item: Item, other: Item) -> Item:
    """The item as another user would ask it, with the target that belongs to that user."""
    return replace(item.asked_by(other), target=other.target)


def target_describes_user(task: Task, items: Sequence[Item]) -> bool:
    """Whether the target describes the user and not the answer, so that a rule can score under another user's target.

    This holds for a personalized task without options in which all items of a user have the same target.
    """
    targets: dict[str | None, set[str]] = {}
    for item in items:
        targets.setdefault(item.user_id, set()).add(item.target)
    personalized = task.suite == "personalized" and not any(item.options for item in items)
    return personalized and all(len(own) == 1 for own in targets.values())


def target_is_option(task: Task, items: Sequence[Item]) -> bool:
    """Whether the target is an option that suits the user: then only a response to another profile can be compared.

    No option of an item is known to suit another user, so the responses are not scored under another target.
    """
    return task.suite == "personalized" and all(item.options for item in items)
