"""MIPO with missing context (arXiv 2603.19294): the rejected response is sampled without the user's context."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from mipo_bench.harness.types import Item, Task


class MipoMissing:
    """The rejected response answers the same prompt without the user's context."""

    name = "mipo-missing"
    description = "MIPO: rejected response to the same prompt without the user's context."

    def applies(self, task: Task, item: Item) -> bool:  # noqa: ARG002 - the protocol's signature
        """True for items of a user."""
        return item.context is not None

    def contrasts(self, items: Sequence[Item], rng: random.Random) -> list[Item]:  # noqa: ARG002
        """Each item without the user's context and without the user's earlier turns."""
        return [replace(item, context=None, demonstrations=()) for item in items]
