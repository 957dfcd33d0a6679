"""Makes texts of models, plugins and data sets safe for UTF-8 files and for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mipo_bench.harness.types import Item


def storable(text: str) -> str:
    """The text with question marks for lone surrogates, which JSON can hold and UTF-8 cannot."""
    return text.encode(errors="replace").decode()


def all_storable(item: Item) -> bool:
    """Whether no text of an item has a lone surrogate, with which neither prompt nor report could be written."""
    turns = [text for turn in item.demonstrations for text in (turn.prompt, turn.response)]
    own = [item.id, item.prompt, item.target, item.user_id, item.context, item.system, item.prefix]
    whole = "".join(text or "" for text in (*own, *item.options, *turns))
    return storable(whole) == whole


def id_text(value: object) -> str | None:
    """An id as text, given as a text or as a whole number, which pandas may write as 3.0; None for any other value."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def on_one_line(text: str) -> str:
    """The text as one line, control characters as escapes; for a value that a message quotes."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in " ".join(text.split()))


def without_control_characters(text: str) -> str:
    """The text without control characters, so that a text of a model or plugin cannot control the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
