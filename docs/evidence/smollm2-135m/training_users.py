"""`preferences` inside its training split: a sixth of the training requests, with their users, is held out.

The learning rate of the evidence run is chosen on these users, so that no evaluation item is looked at for it.
"""

from mipo_bench.harness.types import Item, Split
from mipo_bench.tasks.preferences.preferences import Preferences

HELD_OUT = 12
"""Requests that are held out."""


class TrainingUsers(Preferences):
    """The training users of `preferences`."""

    name = "preferences-training-users"

    def items(self, split: Split) -> tuple[Item, ...]:
        """Training items: evaluation has the held-out requests, training no request and no user of them."""
        items = super().items("train")
        requests = sorted({item.prompt for item in items})[:HELD_OUT]
        held_out = tuple(item for item in items if item.prompt in requests)
        users = {item.user_id for item in held_out}
        rest = tuple(item for item in items if item.prompt not in requests and item.user_id not in users)
        return held_out if split == "eval" else rest


TASKS = [TrainingUsers]
