"""Formats numbers for all pages: three decimals, no zero before the point, `-` for None."""

from __future__ import annotations

from collections.abc import Callable


def signed(value: float | None) -> str:
    """A difference of scores."""
    return "-" if value is None else _shorten(f"{value:+.3f}")


def unsigned(value: float | None) -> str:
    """A score, or a size on the scale of scores."""
    return "-" if value is None else _shorten(f"{value:.3f}")


def percent(value: float | None) -> str:
    """A relative difference; from tenfold on only `>10x`, because a base near 0 makes it arbitrarily large."""
    if value is None:
        return "-"
    return f"{value:+.0%}" if abs(value) < 10 else ">10x"


def interval(low: float | None, high: float | None, show: Callable[[float | None], str]) -> str:
    """Both ends of an interval, each written by `show`."""
    return "-" if low is None or high is None else f"{show(low)} to {show(high)}"


def p_text(p: float | None) -> str:
    """A p-value with three decimals, four below .001, and `<.0001` below that."""
    if p is None:
        return "-"
    if p < 0.0001:
        return "<.0001"
    digits = f"{p:.4f}" if p < 0.001 else f"{p:.3f}"
    return _shorten(digits) if p < 0.9995 else "1"


def p_marked(p: float | None, alpha: float) -> str:
    """The p-value that decides significance, with `~` if it is not below `alpha`."""
    unclear = "~ " if p is None or p >= alpha else ""
    return unclear + p_text(p)


def plural(count: int, noun: str) -> str:
    """The count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _shorten(digits: str) -> str:
    return digits.replace("0.", ".", 1) if digits.lstrip("+-").startswith("0.") else digits
