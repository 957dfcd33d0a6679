"""MIPO with random negatives (arXiv 2603.19294): the rejected response belongs to another context or prompt."""

from __future__ import annotations

import random
from collections.abc import Sequence

from mipo_bench.baselines.recipes import negatives
from mipo_bench.harness.types import Item, Similarity, Task


class MipoRandom:
    """The rejected response answers the same prompt for another user; in tasks without users, another prompt."""

    name = "mipo-random"
    description = "MIPO: rejected response under another user's context, or another prompt."

    def applies(self, task: Task, item: Item) -> bool:  # noqa: ARG002 - the protocol's signature
        """True for every item of every task."""
        return True

    def contrasts(self, items: Sequence[Item], rng: random.Random) -> list[Item]:
        """One contrast per item: the same request by a random user with another context; without users, another item.

        Raises ValueError if fewer than two different contexts (or, without users, prompts) exist.
        """
        if all(item.context is None for item in items):
            return _other_prompts(items, rng)
        users = list({item.user_id: item for item in items}.values())
        if len({user.context for user in users}) < 2:
            raise ValueError("mipo-random needs at least two users with different contexts")
        return [_other_user(item, users, rng) for item in items]

    def several_contrasts(
        self, items: Sequence[Item], rng: random.Random, k: int, similarity: Similarity
    ) -> list[list[Item]]:
        """`k` different contrasts per item; see `negatives.contrasts_by_similarity`."""
        return negatives.contrasts_by_similarity(items, rng, k, similarity)


def _other_user(item: Item, users: Sequence[Item], rng: random.Random) -> Item:
    while (other := rng.choice(users)).context == item.context:
        pass
    return item.asked_by(other)


def _other_prompts(items: Sequence[Item], rng: random.Random) -> list[Item]:
    """Each item's successor in a random cyclic order: never the item itself, and each item is used once."""
    if len({item.prompt for item in items}) < 2:
        raise ValueError("mipo-random needs at least two different prompts")
    order = list(range(len(items)))
    rng.shuffle(order)
    follower = dict(zip(order, order[1:] + order[:1], strict=True))
    return [items[follower[i]] for i in range(len(items))]
