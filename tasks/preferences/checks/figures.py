"""Checks of quantities, dates and Python code."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from datetime import date

from mipo_bench.tasks.preferences.checks.response_text import ResponseText

_NUMBER = (
    r"(?:\d+(?:[.,/]\d+)*|[½¼¾]|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|thirty|forty|fifty|"
    r"hundred|half an?))"
)
_METRIC = (
    r"(?:kilomet|centimet|millimet|met)(?:re|er)s?|(?:milli)?lit(?:re|er)s?|(?:kilo|milli)?grams?|kilos?|"
    r"km/h|kPa|bars?|km|cm|mm|kg|mg|ml|mL|°\s?C|degrees? (?:Celsius|C)|m|g|l|L|C"
)
_IMPERIAL = (
    r"inch(?:es)?|feet|foot|ft|yards?|miles?|mph|psi|pounds?|lbs?|ounces?|oz|fl\.? ?oz|gallons?|quarts?|pints?|"
    r"°\s?F|degrees? (?:Fahrenheit|F)|F|stone"
)
_UNITS = {
    system: re.compile(rf"{_NUMBER}(?:\s?[-\u2013]\s?|\s+to\s+)?(?:{_NUMBER})?[\s-]?(?:{names})(?![\w'\u2019])")
    for system, names in (("metric", _METRIC), ("imperial", _IMPERIAL))
}
_OTHER_SYSTEM = {"metric": "imperial", "imperial": "metric"}
_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
    r"Nov(?:ember)?|Dec(?:ember)?)\b\.?"
)
_DATES = {
    "iso": re.compile(r"(?<![\d-])\d{4}-\d{2}-\d{2}(?![\d-])"),
    "day_first": re.compile(rf"\b\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH}"),
    "month_first": re.compile(rf"\b{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?\b(?!\d)"),
    "slashes": re.compile(r"(?<![\d/])\d{1,2}[/.]\d{1,2}[/.]\d{2,4}(?![\d/])"),
}
_MOST_LINES_CUT = 6


def units(response: ResponseText, value: str) -> bool:
    """At least one quantity in the units of this system, and none in the other system's."""
    return bool(_UNITS[value].search(response.prose)) and not _UNITS[_OTHER_SYSTEM[value]].search(response.prose)


def dates(response: ResponseText, value: str) -> bool:
    """At least one date in this format, and no date in another format. A year or a month alone is no date."""
    found = {form for form, pattern in _DATES.items() if any(map(_is_date, pattern.findall(response.prose)))}
    return found == {value}


def _is_date(text: str) -> bool:
    """False for digits in the form of an ISO date that are none, such as 2024-99-99."""
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return True
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def type_hints(response: ResponseText, _: str) -> bool:
    """Every Python function has a type for its result and for each parameter; there is at least one function."""
    functions = list(_functions(response))
    return bool(functions) and all(f.returns and all(a.annotation for a in _parameters(f)) for f in functions)


def docstrings(response: ResponseText, _: str) -> bool:
    """Every Python function has a docstring; there is at least one function."""
    functions = list(_functions(response))
    return bool(functions) and all(ast.get_docstring(f) for f in functions)


def _functions(response: ResponseText) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for code in response.code:
        tree = _parsed(code)
        yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    found = function.args
    return [a for a in (*found.posonlyargs, *found.args, *found.kwonlyargs) if a.arg not in ("self", "cls")]


def _parsed(code: str) -> ast.Module:
    """The code as a syntax tree, without its last lines if they do not parse: the token limit may have cut them."""
    lines = code.splitlines()
    for cut in range(min(_MOST_LINES_CUT, len(lines))):
        try:
            with warnings.catch_warnings(action="ignore"):
                return ast.parse("\n".join(lines[: len(lines) - cut]))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return ast.Module([], [])
