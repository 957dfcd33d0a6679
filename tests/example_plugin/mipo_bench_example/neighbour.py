"""MIPO whose rejected response is sampled under the context of the next user."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from mipo_bench.harness.types import Item, Task


class MipoNeighbour:
    """Rejected: the same prompt with the context of the next user in the order of the task."""

    name = "mipo-neighbour"
    description = "MIPO: rejected response under the next user's context."

    def applies(self, task: Task, item: Item) -> bool:
        """Tasks with users."""
        return item.context is not None

    def contrasts(self, items: Sequence[Item], rng: random.Random) -> list[Item]:
        """Each item as the next user would have asked it. Raises ValueError where there is a single user."""
        users = list({item.user_id: item for item in items}.values())
        if len(users) < 2:
            raise ValueError("mipo-neighbour needs at least two users")
        after = {user.user_id: users[(n + 1) % len(users)] for n, user in enumerate(users)}
        return [
            replace(item, user_id=after[item.user_id].user_id, context=after[item.user_id].context) for item in items
        ]
