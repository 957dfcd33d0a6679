"""Texts to tokens and back, as lm-eval does it, so that the same model gives the same figures."""

from __future__ import annotations

from typing import Any

from mipo_bench.harness.types import Decoding, Item


def encode_pair(tokenizer: Any, prompt: str, text: str) -> tuple[list[int], list[int]]:
    """The tokens of a prompt and of the text that continues it.

    Both are encoded as one string, which is then cut where the prompt's own tokens end: tokens that reach across the
    border belong to the text. White space at the end of the prompt is counted to the text, because tokenizers put it
    at the beginning of a word (`_encode_pair` of lm-eval 0.4.13).
    """
    kept = prompt.rstrip()
    before = tokenizer.encode(kept, add_special_tokens=False)
    whole = tokenizer.encode(prompt + text, add_special_tokens=False)
    return before, whole[len(before) :]


def finished_text(text: str, decoding: Decoding) -> str:
    """The response in a decoded text: what stands before the stop strings, stripped of white space unless kept."""
    for stop in decoding.stop:
        if stop:
            text = text.split(stop, maxsplit=1)[0]
    return storable(text if decoding.verbatim else text.strip())


def storable(text: str) -> str:
    """The text without lone surrogates, which JSON can carry and UTF-8 cannot; question marks stand for them."""
    return text.encode(errors="replace").decode()


def all_storable(item: Item) -> bool:
    """Whether no text of an item has a lone surrogate: else neither its prompt nor the report could be written."""
    turns = [text for turn in item.demonstrations for text in (turn.prompt, turn.response)]
    own = [item.id, item.prompt, item.target, item.user_id, item.context, item.system, item.prefix]
    whole = "".join(text or "" for text in (*own, *item.options, *turns))
    return storable(whole) == whole
