"""Shapes of computations: how many columns a prompt is padded to, where it is split, and how many columns a slot has.

All are functions of the request's own tokens; widths have few values. Rounding depends on the shape of a computation,
so this makes an answer independent of the other requests (`forward` explains it). Start with `Shapes`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
_Steps = tuple[tuple[int, int], ...]
"""Up to so many tokens, a width is a multiple of the second number."""
_ANY = 1 << 60
_LEAST_PREFIX, _LEAST_TAIL = 64, 16
"""Tokens on each side of a split. The opening of the assistant's turn is shorter than such a tail."""


@dataclass(frozen=True, slots=True)
class Shapes:
    """The widths of prompts, of texts that follow them, and of slots: few values, not much larger than needed."""

    prompts: _Steps
    slots: _Steps

    def step(self, tokens: int) -> int:
        """The number that the width of a prompt or text of so many tokens is a multiple of."""
        return next(step for limit, step in self.prompts if tokens <= limit)

    def width(self, tokens: int) -> int:
        """Columns that a prompt or text of so many tokens is padded to."""
        step = self.step(tokens)
        return -(-tokens // step) * step

    def columns(self, tokens: int) -> int:
        """Columns of a slot that must hold so many tokens of prompt and response."""
        step = next(step for limit, step in self.slots if tokens <= limit)
        return -(-tokens // step) * step


FINE = Shapes(
    ((128, 16), (256, 32), (512, 64), (2048, 128), (_ANY, 256)), ((512, 64), (1024, 128), (4096, 256), (_ANY, 512))
)
COARSE = Shapes(((32, 32), (512, 64), (2048, 256), (_ANY, 512)), ((1024, 256), (4096, 512), (_ANY, 1024)))
"""Those of a GPU: a call costs little more with more columns, but each width has calls and idle rows of its own."""


def prefix_length(ids: Sequence[int], turn_ends: Collection[int]) -> int:
    """Tokens of a prompt before its last turn, which other prompts may share; 0 where they are too few.

    `turn_ends` are the tokens that end a turn.
    """
    cuts = range(len(ids) - _LEAST_TAIL, _LEAST_PREFIX - 1, -1)
    return next((cut for cut in cuts if ids[cut - 1] in turn_ends), 0)


def in_parts(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """The values in lists of this size, the last one shorter."""
    stream = iter(values)
    while part := list(islice(stream, size)):
        yield part
