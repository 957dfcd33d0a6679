"""Token ids of a prompt with its continuation, and texts from token ids."""

from __future__ import annotations

from typing import Any

from mipo_bench.harness.core.text import storable
from mipo_bench.harness.types import Decoding


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
