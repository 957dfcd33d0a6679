"""Checks of one chat that a plugin made for an item: its form, the order of its roles, and the user's context."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, get_args

from mipo_bench.harness.plugins.protocol_checks import shown
from mipo_bench.harness.types import Item, Message, Role


def chat_problem(messages: Any, item: Item) -> str | None:
    """The problem of a chat for the item, in words that follow the name of its maker; None if there is none.

    Some chat templates reject a system turn that is not the first, and turns of user and assistant that do not
    alternate. A demonstration without a response is a user turn of its own.
    """
    if not isinstance(messages, Sequence) or not messages or not all(_is_message(m) for m in messages):
        return f"gives {shown(messages)}, not messages"
    if messages[-1].role != "user" or not messages[-1].content.strip():
        return "does not end with a user message"
    roles = [message.role for message in messages]
    if "system" in roles[1:]:
        return f"has a system message at place {roles.index('system', 1) + 1}: put its text into the first message"
    turns = [role for role in roles if role != "system"]
    single = any(not turn.response for turn in item.demonstrations)
    twice = next((a for a, b in pairwise(turns) if a == b and not (single and a == "user")), None)
    if twice or turns[0] != "user":
        return f"has the roles {', '.join(roles)}: user and assistant must alternate, the user first"
    return None


def context_problem(messages: Sequence[Message], context: str | None) -> str | None:
    """The problem of a chat that promises to show the context; None if it is there, or there is none."""
    return f"leaves out the context {shown(context)}" if context and not shows(messages, context) else None


def shows(messages: Sequence[Message], text: str) -> bool:
    """Whether a message of the chat contains the text word for word."""
    return any(text in message.content for message in messages)


def _is_message(value: Any) -> bool:
    return isinstance(value, Message) and value.role in get_args(Role) and isinstance(value.content, str)
