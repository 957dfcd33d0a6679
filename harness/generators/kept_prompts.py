"""Prompts and facts of a tokenizer that are kept between runs, so that a run without new work loads no tokenizer.

Both are kept under everything that decides them: the small files of the model's folder, the settings of the chat
template, the versions of the libraries that render, and the chats themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.hashing import tokenizer_digest
from mipo_bench.harness.errors import ContextLostError
from mipo_bench.harness.generators.chat_template import system_into_user
from mipo_bench.harness.generators.model_folder import has_dated_template
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.protocols import Chat, Prompt

PROMPTS_VERSION = "prompts-1"
"""Goes up whenever the same chat is rendered differently, or a fact of the same tokenizer is found differently."""
_LIBRARIES = ("transformers", "tokenizers", "jinja2")
Remember = Callable[[Iterable[object], Callable[[], Any]], Any]
"""Returns the JSON value under the key of these parts, or computes and keeps it (`Store.remembered`)."""


def compute_anew(parts: Iterable[object], compute: Callable[[], Any]) -> Any:  # noqa: ARG001 - the signature of Remember
    """Compute the value: nothing is kept."""
    return compute()


def tokenizer_key(folder: Path, placement: Placement) -> tuple[str, ...]:
    """Everything besides the chat that decides a rendered prompt, and the facts of a tokenizer."""
    today = str(datetime.now(UTC).astimezone().date()) if has_dated_template(folder) else ""
    settings = (placement.chat.model_dump_json(), str(placement.trust_remote_code), str(placement.max_length), today)
    versions = (f"{name} {version(name)}" for name in _LIBRARIES)
    return (PROMPTS_VERSION, tokenizer_digest(folder), *settings, *versions)


def render_kept(
    chats: Sequence[Chat], key: Sequence[str], remember: Remember, render: Callable[[Chat], Prompt]
) -> list[Prompt | None]:
    """The prompts of chats that are kept together; None for one that cannot be rendered."""

    def text_of(chat: Chat) -> list[object] | None:
        try:
            prompt = render(chat)
        except ContextLostError:
            return None
        return [prompt.text, prompt.messages != tuple(chat.messages)]

    kept = remember(["prompts", *key, *_parts(chats)], lambda: [text_of(chat) for chat in chats])
    return [None if row is None else _prompt(chat, *row) for chat, row in zip(chats, kept, strict=True)]


def _prompt(chat: Chat, text: str, merged: bool) -> Prompt:
    """The prompt with its text, whose system turn is `merged` into the user's turn where the template refuses it."""
    return Prompt(system_into_user(chat.messages) if merged else tuple(chat.messages), text)


def _parts(chats: Sequence[Chat]) -> Iterable[object]:
    for chat in chats:
        yield len(chat.messages)
        for message in chat.messages:
            yield message.role
            yield message.content
        yield chat.context is not None
        yield chat.context
