"""Shapes of computations: how many columns a prompt is padded to, where it is split, and how many columns a slot has.

All are functions of the request's own tokens; widths have few values. Rounding depends on the shape of a computation,
so this makes an answer independent of the other requests (`forward` explains it). Start with `width_for`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
_PROMPT_STEPS = ((128, 16), (256, 32), (512, 64), (2048, 128), (1 << 60, 256))
"""Up to so many tokens, the width of a prompt is a multiple of the second number."""
_SLOT_STEPS = ((512, 64), (1024, 128), (4096, 256))
_COARSE_SLOT_STEPS = ((1024, 256), (4096, 512))
"""Up to so many tokens, the columns of a slot are a multiple of the second number; further up, of twice the last one.

A GPU takes coarse steps: there, a step costs little more with more columns, but slots of each width run by themselves.
"""
_LEAST_PREFIX, _LEAST_TAIL = 64, 16
"""Tokens on each side of a split. The opening of the assistant's turn is shorter than such a tail."""


def prefix_length(ids: Sequence[int], turn_ends: Collection[int]) -> int:
    """Tokens of a prompt before its last turn, which other prompts may share; 0 where they are too few.

    `turn_ends` are the tokens that end a turn.
    """
    cuts = range(len(ids) - _LEAST_TAIL, _LEAST_PREFIX - 1, -1)
    return next((cut for cut in cuts if ids[cut - 1] in turn_ends), 0)


def step_for(tokens: int) -> int:
    """The number that the width of a prompt of so many tokens is a multiple of."""
    return next(step for limit, step in _PROMPT_STEPS if tokens <= limit)


def width_for(tokens: int) -> int:
    """Columns that a prompt of so many tokens is padded to: few values, not much larger than needed."""
    step = step_for(tokens)
    return -(-tokens // step) * step


def columns_for(tokens: int, *, coarse: bool = False) -> int:
    """Columns of a slot that must hold so many tokens of prompt and response: few values."""
    steps = _COARSE_SLOT_STEPS if coarse else _SLOT_STEPS
    step = next((step for limit, step in steps if tokens <= limit), 2 * steps[-1][1])
    return -(-tokens // step) * step


def in_parts(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """The values in lists of this size, the last one shorter."""
    stream = iter(values)
    while part := list(islice(stream, size)):
        yield part
