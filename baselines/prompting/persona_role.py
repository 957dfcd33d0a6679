"""Role play: the system message tells the model that it knows the user well, and contains the profile."""

from __future__ import annotations

from mipo_bench.baselines.prompting.profile import Profile
from mipo_bench.harness.types import Item, Message

ROLE = "You have known this user for years and talk exactly the way they like best."


class PersonaRole(Profile):
    """The role and the profile as system message."""

    name = "persona-role"
    description = "Role play: the model knows the user well; the profile is part of the role."
    default = False

    def messages(self, item: Item) -> tuple[Message, ...]:
        """The system turn with role and profile, then the user turn."""
        system = (Message("system", f"{ROLE} {item.context}"),) if item.context else ()
        return (*system, Message("user", item.prompt))
