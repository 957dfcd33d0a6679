"""Shapes of the inline SVG figures: pure data in the units of the picture, which the template draws and escapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Tag = Literal["line", "rect", "circle", "path", "polyline", "text"]


@dataclass(frozen=True, slots=True)
class Shape:
    """One SVG element: its class (styled by `report.css`), its numbers, its text, and a tooltip."""

    tag: Tag
    look: str
    at: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG of this size with its label for screen readers."""

    width: int
    height: int
    label: str
    shapes: Sequence[Shape]


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps `low` to `high` linearly to pixels `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> str:
        """The position of a value, held inside the scale, with one decimal."""
        inside = min(max(value, self.low), self.high)
        return f"{self.start + (inside - self.low) / (self.high - self.low) * (self.end - self.start):.1f}"

    def ticks(self) -> list[float]:
        """Four to seven round values inside the scale."""
        rough = (self.high - self.low) / 7
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [n * step for n in range(first, last + 1)]


def around(values: Sequence[float], start: float, end: float, *, room: float = 0.05) -> Scale:
    """A scale over all values with some room at both ends."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = (high - low or abs(high) or 1.0) * room
    return Scale(low - margin, high + margin, start, end)


def line(look: str, x1: str, y1: str, x2: str, y2: str) -> Shape:
    """A straight line."""
    return Shape("line", look, {"x1": x1, "y1": y1, "x2": x2, "y2": y2})
