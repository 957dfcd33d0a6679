"""Chat templates: rendering a chat to a prompt, and finding the end-of-turn token of a template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from mipo_bench.harness.config.schema import ChatConfig
from mipo_bench.harness.errors import ContextLostError, StageError, first_line
from mipo_bench.harness.protocols import Chat, Generator, Prompt, RemembersPrompts
from mipo_bench.harness.types import Baseline, Item, Message, Response

DEFAULT_CHAT = ChatConfig()
FIXED_DATE = datetime(2024, 7, 26)
"""The date that chat templates print in place of today's, because prompts must not change with the day."""
_RESPONSE = "the-response"
_MIN_SYSTEM_WORDS = 3
"""A system text has at least this many words; fewer are markup of the template."""


def framed(messages: Sequence[Message], item: Item) -> tuple[Message, ...]:
    """The chat with the item's system text at the head and the item's response prefix, if any, as the last turn."""
    chat = list(messages)
    if item.system and chat[0].role == "system":
        chat[0] = Message("system", f"{item.system}\n\n{chat[0].content}")
    elif item.system:
        chat.insert(0, Message("system", item.system))
    return (*chat, Message("assistant", item.prefix)) if item.prefix else tuple(chat)


def template_variables(chat: ChatConfig) -> dict[str, Any]:
    """The variables of the chat template, besides the turns.

    `date_string` is the variable of Llama 3's templates for the date. For `strftime_now` see `tokenizer.fix_date`.
    """
    return {"date_string": FIXED_DATE.strftime("%d %b %Y"), **chat.template}


def render(tokenizer: Any, messages: Sequence[Message], context: str | None, chat: ChatConfig = DEFAULT_CHAT) -> Prompt:
    """Render a chat with the generation prompt. If the last turn is the assistant's, it is left open instead.

    Some templates reject a system turn or silently drop it. They get the system text at the head of the first user
    turn. Raises ContextLostError if the context, or the system text, is still absent after that, and
    if the template rejects the chat.
    """
    required = [t.strip() for t in (context, *(m.content for m in messages if m.role == "system")) if t]
    prompt = None if chat.system_in_user else _accepted(tokenizer, messages, chat)
    if prompt is None or not all(text in prompt.text for text in required):
        prompt = apply_template(tokenizer, system_into_user(messages), chat)
    for text in required:
        if text not in prompt.text:
            raise ContextLostError(f"the chat template dropped the user's context {text[:60]!r}")
    return prompt


def own_system_text(tokenizer: Any, chat: ChatConfig = DEFAULT_CHAT) -> str | None:
    """The default system text of a template: shown without a system turn, replaced by one. None if there is none.

    Qwen2.5's template introduces the model by its name there. The prompts of an arm without context and of an arm with
    context then differ by more than the context.
    """
    if chat.system_in_user:
        return None
    user, system = Message("user", "THE-REQUEST"), Message("system", "THE-CONTEXT")
    bare, full = (_accepted(tokenizer, turns, chat) for turns in ([user], [system, user]))
    if bare is None or full is None or system.content not in full.text:
        return None
    words_with_system = set(full.text.split())
    words = [word for word in bare.text.partition(user.content)[0].split() if word not in words_with_system]
    return " ".join(words) if len(words) >= _MIN_SYSTEM_WORDS else None


def apply_template(tokenizer: Any, messages: Sequence[Message], chat: ChatConfig = DEFAULT_CHAT) -> Prompt:
    """The chat rendered as it is. Raises ContextLostError with the template's reason if it rejects the chat."""
    has_prefix = messages[-1].role == "assistant"
    text = _rendered(tokenizer, messages, chat, add_generation_prompt=not has_prefix, continue_final_message=has_prefix)
    return Prompt(tuple(messages), text)


def finished_chat(tokenizer: Any, messages: Sequence[Message], chat: ChatConfig = DEFAULT_CHAT) -> str:
    """The text of a chat that ends with a whole response, as trainings read it. Raises ContextLostError as above."""
    return _rendered(tokenizer, messages, chat)


def _rendered(tokenizer: Any, messages: Sequence[Message], chat: ChatConfig, **ending: bool) -> str:
    turns = [{"role": m.role, "content": m.content} for m in messages]
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, **ending, **template_variables(chat)))
    except Exception as error:  # a template is a program of its own, which may raise anything
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ContextLostError(f"the chat template rejects the chat: {reason}") from error


def _accepted(tokenizer: Any, messages: Sequence[Message], chat: ChatConfig) -> Prompt | None:
    """The rendered chat; None if the template rejects it."""
    try:
        return apply_template(tokenizer, messages, chat)
    except ContextLostError:
        return None


def system_into_user(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The chat with the system text at the head of the first user turn."""
    system = [m.content for m in messages if m.role == "system"]
    rest = [m for m in messages if m.role != "system"]
    if not system:
        return tuple(rest)
    return (Message("user", "\n\n".join([*system, rest[0].content])), *rest[1:])


def end_of_turn_token(tokenizer: Any, chat: ChatConfig = DEFAULT_CHAT) -> str:
    """The special token after an assistant turn that is followed by a user turn; empty if there is none.

    It is also empty if the template rejects such a chat.
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
    """The response text with the end-of-turn token, so that its log-probability includes that of its end.

    A response whose finish reason is not `stop` gets no token.
    """
    return response.text + token if response.finish == "stop" else response.text


def chat_of(baseline: Baseline, item: Item) -> Chat:
    """The baseline's chat for the item."""
    return Chat(framed(baseline.messages(item), item), item.context if baseline.uses_context else None)


def prompt_of(baseline: Baseline, item: Item, generator: Generator) -> Prompt:
    """The baseline's prompt for the item. Raises ContextLostError if the model would not see the context."""
    return generator.render(*chat_of(baseline, item))


def prompts_of(baseline: Baseline, items: Iterable[Item], generator: Generator) -> list[Prompt]:
    """The baseline's prompt for each item, from the generator's store where it has one. Raises as `prompt_of` does."""
    chats = [chat_of(baseline, item) for item in items]
    kept = kept_prompts(generator, chats)
    return [prompt or generator.render(*chat) for prompt, chat in zip(kept, chats, strict=True)]


def kept_prompts(generator: Generator, chats: Sequence[Chat]) -> Sequence[Prompt | None]:
    """The prompts that the generator keeps or can render now; None for each that its `render` has to make or refuse."""
    if isinstance(generator, RemembersPrompts):
        return generator.render_all(chats)
    return [None] * len(chats)
