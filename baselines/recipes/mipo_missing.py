"""MIPO with missing context (arXiv 2603.19294): the rejected response is sampled without the user's context."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from mipo_bench.harness.types import Item, Task


class MipoMissing:
    """Rejected: the same prompt with no context."""

    name = "mipo-missing"
    description = "MIPO: rejected response to the same prompt without the user's context."

    def applies(self, task: Task, item: Item) -> bool:  # noqa: ARG002 - the protocol's signature
        """Tasks with users."""
        return item.context is not None

    def contrasts(self, items: Sequence[Item], rng: random.Random) -> list[Item]:  # noqa: ARG002
        """Each item without anything that is known about the user: context and earlier turns."""
        return [replace(item, context=None, demonstrations=()) for item in items]
