"""The text with which a model ends its turn, so that the probability of a response can include that it ends."""

from __future__ import annotations

from typing import Any

from mipo_bench.harness.errors import StageError
from mipo_bench.harness.protocols import Generator
from mipo_bench.harness.types import Message, Response

_MARK = "the-response"


def ending(generator: Generator) -> str:
    """The end-of-turn token as its chat template writes it; empty where it is not known.

    It is the special token that follows a finished response in a chat that goes on. A generator without a tokenizer of
    its own, or whose template refuses such a chat, has none that is known.
    """
    tokenizer: Any = getattr(generator, "tokenizer", None)
    if tokenizer is None:
        return ""
    chat = (Message("user", "a question"), Message("assistant", _MARK), Message("user", "another"))
    try:
        text = generator.render(chat, None).text
    except StageError:
        return ""
    rest = text.partition(_MARK)[2].lstrip()
    tokens = {*map(str, tokenizer.all_special_tokens), *map(str, tokenizer.get_added_vocab())}
    return max((token for token in tokens if token and rest.startswith(token)), key=len, default="")


def ended(response: Response, end: str) -> str:
    """The response with its end; one that was cut has none."""
    return response.text + end if response.finish == "stop" else response.text
