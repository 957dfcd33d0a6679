"""Chats as a model's template takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mipo_bench.harness.config import ChatConfig
from mipo_bench.harness.errors import ContextLostError
from mipo_bench.harness.types import Message, Prompt

DEFAULT_CHAT = ChatConfig()


def template_variables(chat: ChatConfig) -> dict[str, Any]:
    """What the chat template is given beside the turns.

    Llama 3's templates print today's date unless told another: a prompt must not change overnight.
    """
    return {"date_string": "26 Jul 2024", **chat.template}


def render(tokenizer: Any, messages: Sequence[Message], context: str | None, chat: ChatConfig = DEFAULT_CHAT) -> Prompt:
    """Render a chat with the generation prompt.

    A template that refuses a system turn, or drops it in silence, gets the system text at the head of the first user
    turn instead. Raises ContextLostError where the context, or the system text, is still absent after that.
    """
    wanted = [t for t in (context, *(m.content for m in messages if m.role == "system")) if t]
    prompt = None if chat.system_in_user else _apply(tokenizer, messages, chat)
    if prompt is None or not all(text in prompt.text for text in wanted):
        prompt = _apply(tokenizer, _system_into_user(messages), chat)
    if prompt is None:
        raise ContextLostError("the chat template refuses the prompt, with and without a system turn")
    for text in wanted:
        if text not in prompt.text:
            raise ContextLostError(f"the chat template dropped the user's context {text[:60]!r}")
    return prompt


def _apply(tokenizer: Any, messages: Sequence[Message], chat: ChatConfig) -> Prompt | None:
    from jinja2 import TemplateError

    turns = [{"role": m.role, "content": m.content} for m in messages]
    try:
        text = tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True, **template_variables(chat)
        )
    except TemplateError:
        return None
    return Prompt(tuple(messages), str(text))


def _system_into_user(messages: Sequence[Message]) -> tuple[Message, ...]:
    system = [m.content for m in messages if m.role == "system"]
    rest = [m for m in messages if m.role != "system"]
    if not system:
        return tuple(rest)
    return (Message("user", "\n\n".join([*system, rest[0].content])), *rest[1:])
