"""Read lists and objects from texts, such as the cells of a CSV file: as JSON, or as Python prints them."""

from __future__ import annotations

import ast
import json
import warnings


def decoded(value: object) -> object:
    """The value of a text that is a JSON object or list, or Python's print of one; other values unchanged.

    pandas writes Python's print into a CSV cell. It is read only if the value prints as the same text again: numpy's
    print of an array (`['ice' 'fog']`) has no commas, and Python would join its texts.
    """
    if not isinstance(value, str) or value.strip()[:1] not in ("{", "["):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        found = _python_value(value.strip())
        return found if isinstance(found, list | dict) and repr(found) == value.strip() else value


def _python_value(text: str) -> object:
    """The value of a Python literal; None for any other text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about backslashes in texts that are no Python
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
