"""Texts that others wrote, made fit for UTF-8 files and for a terminal."""

from __future__ import annotations

from mipo_bench.harness.types import Item


def storable(text: str) -> str:
    """The text without lone surrogates, which JSON can carry and UTF-8 cannot; question marks stand for them."""
    return text.encode(errors="replace").decode()


def all_storable(item: Item) -> bool:
    """Whether no text of an item has a lone surrogate: else neither its prompt nor the report could be written."""
    turns = [text for turn in item.demonstrations for text in (turn.prompt, turn.response)]
    own = [item.id, item.prompt, item.target, item.user_id, item.context, item.system, item.prefix]
    whole = "".join(text or "" for text in (*own, *item.options, *turns))
    return storable(whole) == whole


def on_one_line(text: str) -> str:
    """The text as one line in which control characters are written out, for a value that a message quotes."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in " ".join(text.split()))


def without_control_characters(text: str) -> str:
    """The text without control characters: what a model or a plugin wrote cannot steer the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
