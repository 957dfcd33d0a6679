"""Role play: the model is told to be the person whom the user would ask."""

from __future__ import annotations

from mipo_bench.baselines.prompting.profile import Profile
from mipo_bench.harness.types import Item, Message

ROLE = "You have known this user for years and talk exactly the way they like best."


class PersonaRole(Profile):
    """A role as system message, with the profile in it."""

    name = "persona-role"
    description = "The model plays somebody who knows the user well; the profile is part of the role."
    default = False

    def messages(self, item: Item) -> tuple[Message, ...]:
        """The system turn with role and profile, then the user turn."""
        system = (Message("system", f"{ROLE} {item.context}"),) if item.context else ()
        return (*system, Message("user", item.prompt))
