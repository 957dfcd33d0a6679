"""Keeps the keys of servers out of every text that is printed or stored.

Keys come from the environment alone; a key in the configuration, which is written to the report, is an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

_NAMED = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)
_ARGUMENTS = re.compile(r"(^|_)(key|token|secret|password|header|headers|authorization)$", re.IGNORECASE)
"""Names of backend arguments that may hold a key."""
_SECRETS = re.compile(r"(^|_)(api_?key|access_token|secret|password)$", re.IGNORECASE)
"""Names of settings that certainly hold a key; `bos_token`, a chat template's variable, does not."""
_ADDRESSES = re.compile(r"[A-Za-z]+://\S+")
_SHORTEST = 8
"""Characters of the shortest key; replacing shorter values would garble ordinary words."""


def redact_environment(text: str) -> str:
    """The text in which the value of each environment variable that is named like a key is replaced by its name."""
    for name, value in sorted(os.environ.items(), key=lambda variable: -len(variable[1])):  # longest first
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
            yield name, f"backend_args.{name}: write the address without user, password and query."


def _has_login(address: str) -> bool:
    """Whether an address holds a user, a password or a query, each of which may be a key."""
    try:
        parts = urlsplit(address)
    except ValueError:  # not an address; the code that opens it reports that
        return "@" in address or "?" in address
    return parts.username is not None or parts.password is not None or bool(parts.query)


_SHAPES = (
    r"\bhf_[A-Za-z0-9]{16,}",  # Hugging Face
    r"\bsk-[A-Za-z0-9_-]{16,}",  # OpenAI and servers that imitate it
    r"\bgh[pousr]_[A-Za-z0-9]{20,}",
    r"\bgithub_pat_[A-Za-z0-9_]{20,}",
    r"\bAKIA[A-Z0-9]{16}\b",
    r"(?<=[Bb]earer )[A-Za-z0-9._~+/-]{16,}=*",
    r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)",  # user and password in an address
)
_SHAPED = re.compile("|".join(_SHAPES))


def redact(text: str) -> str:
    """The text without the keys of the environment and without anything that is shaped like a key."""
    return _SHAPED.sub("[key]", redact_environment(text))


def config_problems(values: object, path: tuple[str, ...] = ()) -> Iterator[str]:
    """One line for each value of the configuration that is or looks like a key; it does not repeat the value."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            if isinstance(value, str) and _SECRETS.search(str(name)):
                yield _key_problem((*path, str(name)))
            else:
                yield from config_problems(value, (*path, str(name)))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from config_problems(value, path)
    elif isinstance(values, str) and redact(values) != values:
        yield _key_problem(path)
    elif isinstance(values, str) and any(map(_has_login, _ADDRESSES.findall(values))):
        yield f"{'.'.join(path)}: write the address without user, password and query."


def _key_problem(path: Sequence[str]) -> str:
    return (
        f"{'.'.join(path)}: its value is, or looks like, a key or password, and the configuration is written to the"
        " report. Leave it out and set an environment variable (HF_TOKEN, OPENAI_API_KEY) instead."
    )
