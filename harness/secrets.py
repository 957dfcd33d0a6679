"""Keys of servers: they come from the environment, and no text that is shown or kept may hold them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

_NAMED = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)
_ARGUMENTS = re.compile(r"(^|_)(key|token|secret|password|header|headers|authorization)$", re.IGNORECASE)
_SHORTEST = 8
"""Shorter values are no keys, and blanking them would garble ordinary words."""


def without_keys(text: str) -> str:
    """The text with every value of an environment variable named like a key replaced by its variable's name."""
    for name, value in os.environ.items():
        if _NAMED.search(name) and len(value) >= _SHORTEST:
            text = text.replace(value, f"[{name}]")
    return text


def key_problems(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(argument, problem) for every backend argument that holds a key: the configuration is written to the report."""
    for name, value in arguments.items():
        if _ARGUMENTS.search(str(name)):
            yield (
                name,
                (
                    f"backend_args.{name}: keys are not taken from the configuration, which is written to the report."
                    " Set the environment variable OPENAI_API_KEY (or the one that the backend reads)."
                ),
            )
        elif isinstance(value, str) and "://" in value and _has_login(value):
            yield name, f"backend_args.{name}: write the address without user and password."


def _has_login(address: str) -> bool:
    parts = urlsplit(address)
    return parts.username is not None or parts.password is not None
