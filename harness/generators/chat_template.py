"""Chat templates: rendering a chat, and the end-of-turn token with which a template ends a response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mipo_bench.harness.config.schema import ChatConfig
from mipo_bench.harness.errors import ContextLostError, StageError
from mipo_bench.harness.protocols import Generator, Prompt
from mipo_bench.harness.types import Baseline, Item, Message, Response

DEFAULT_CHAT = ChatConfig()
_RESPONSE = "the-response"
_SAYING = 3
"""Words that say something; fewer are marks of the template."""


def framed(messages: Sequence[Message], item: Item) -> tuple[Message, ...]:
    """The chat with the item's own system text before everything else and the beginning of the response at its end."""
    chat = list(messages)
    if item.system and chat[0].role == "system":
        chat[0] = Message("system", f"{item.system}\n\n{chat[0].content}")
    elif item.system:
        chat.insert(0, Message("system", item.system))
    return (*chat, Message("assistant", item.prefix)) if item.prefix else tuple(chat)


def template_variables(chat: ChatConfig) -> dict[str, Any]:
    """What the chat template is given beside the turns.

    Llama 3's templates print today's date unless told another: a prompt must not change overnight.
    """
    return {"date_string": "26 Jul 2024", **chat.template}


def render(tokenizer: Any, messages: Sequence[Message], context: str | None, chat: ChatConfig = DEFAULT_CHAT) -> Prompt:
    """Render a chat with the generation prompt; where the last turn is the assistant's, it is left open instead.

    A template that refuses a system turn, or drops it in silence, gets the system text at the head of the first user
    turn instead. Raises ContextLostError where the context, or the system text, is still absent after that.
    """
    wanted = [t.strip() for t in (context, *(m.content for m in messages if m.role == "system")) if t]
    prompt = None if chat.system_in_user else _apply(tokenizer, messages, chat)
    if prompt is None or not all(text in prompt.text for text in wanted):
        prompt = _apply(tokenizer, system_into_user(messages), chat)
    if prompt is None:
        raise ContextLostError("the chat template refuses the prompt, with and without a system turn")
    for text in wanted:
        if text not in prompt.text:
            raise ContextLostError(f"the chat template dropped the user's context {text[:60]!r}")
    return prompt


def own_system_text(tokenizer: Any, chat: ChatConfig = DEFAULT_CHAT) -> str | None:
    """What a template says before a chat without a system turn and does not say before one with it; None for nothing.

    Qwen2.5's introduces the model by its name there. An arm without context then differs from one with it by more than
    the context.
    """
    if chat.system_in_user:
        return None
    asked, told = Message("user", "THE-REQUEST"), Message("system", "THE-CONTEXT")
    bare, full = (_apply(tokenizer, turns, chat) for turns in ([asked], [told, asked]))
    if bare is None or full is None or told.content not in full.text:
        return None
    usual = set(full.text.split())
    words = [word for word in bare.text.partition(asked.content)[0].split() if word not in usual]
    return " ".join(words) if len(words) >= _SAYING else None


def _apply(tokenizer: Any, messages: Sequence[Message], chat: ChatConfig) -> Prompt | None:
    from jinja2 import TemplateError

    turns = [{"role": m.role, "content": m.content} for m in messages]
    begun = messages[-1].role == "assistant"
    ending = {"add_generation_prompt": not begun, "continue_final_message": begun}
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False, **ending, **template_variables(chat))
    except TemplateError:
        return None
    return Prompt(tuple(messages), str(text))


def system_into_user(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The chat with the system text at the head of the first user turn."""
    system = [m.content for m in messages if m.role == "system"]
    rest = [m for m in messages if m.role != "system"]
    if not system:
        return tuple(rest)
    return (Message("user", "\n\n".join([*system, rest[0].content])), *rest[1:])


def end_of_turn_token(tokenizer: Any, chat: ChatConfig = DEFAULT_CHAT) -> str:
    """The special token that follows a finished response in a chat that goes on; empty if there is none.

    A template that refuses such a chat gives none.
    """
    turns = (Message("user", "a question"), Message("assistant", _RESPONSE), Message("user", "another"))
    try:
        text = render(tokenizer, turns, None, chat).text
    except StageError:
        return ""
    rest = text.partition(_RESPONSE)[2].lstrip()
    tokens = {*map(str, tokenizer.all_special_tokens), *map(str, tokenizer.get_added_vocab())}
    return max((token for token in tokens if token and rest.startswith(token)), key=len, default="")


def with_end_of_turn(response: Response, token: str) -> str:
    """The response with its end-of-turn token, so that its probability includes that of its end.

    A response that was cut at the token limit has no end.
    """
    return response.text + token if response.finish == "stop" else response.text


def prompt_of(baseline: Baseline, item: Item, generator: Generator) -> Prompt:
    """The item as the baseline asks it. Raises ContextLostError where the model would not see the context."""
    return generator.render(framed(baseline.messages(item), item), item.context if baseline.uses_context else None)
