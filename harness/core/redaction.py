"""Keys of servers: they come from the environment, and no text that is shown or kept may hold them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

_NAMED = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)
_ARGUMENTS = re.compile(r"(^|_)(key|token|secret|password|header|headers|authorization)$", re.IGNORECASE)
"""Arguments of a backend that may be keys."""
_SECRETS = re.compile(r"(^|_)(api_?key|access_token|secret|password)$", re.IGNORECASE)
"""Settings that are certainly keys: of a chat template's variables `bos_token` is none."""
_ADDRESSES = re.compile(r"[A-Za-z]+://\S+")
_SHORTEST = 8
"""Shorter values are no keys, and blanking them would garble ordinary words."""


def redact_environment(text: str) -> str:
    """The text with every value of an environment variable named like a key replaced by its variable's name."""
    for name, value in sorted(os.environ.items(), key=lambda variable: -len(variable[1])):  # a key may begin another
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
    """Whether an address holds what may be a key: a user, a password or a query."""
    try:
        parts = urlsplit(address)
    except ValueError:  # no address at all; whoever opens it says so
        return "@" in address or "?" in address
    return parts.username is not None or parts.password is not None or bool(parts.query)


_SHAPES = (
    r"\bhf_[A-Za-z0-9]{16,}",  # Hugging Face
    r"\bsk-[A-Za-z0-9_-]{16,}",  # OpenAI and those that follow it
    r"\bgh[pousr]_[A-Za-z0-9]{20,}",
    r"\bgithub_pat_[A-Za-z0-9_]{20,}",
    r"\bAKIA[A-Z0-9]{16}\b",
    r"(?<=[Bb]earer )[A-Za-z0-9._~+/-]{16,}=*",
    r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)",  # user and password in an address
)
_SHAPED = re.compile("|".join(_SHAPES))


def redact(text: str) -> str:
    """The text without values of the environment's keys, and without anything that has the shape of a key."""
    return _SHAPED.sub("[key]", redact_environment(text))


def config_problems(values: object, path: tuple[str, ...] = ()) -> Iterator[str]:
    """A line for every value of the configuration that is or looks like a key; the value itself is not repeated."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            if isinstance(value, str) and _SECRETS.search(str(name)):
                yield _kept_out((*path, str(name)))
            else:
                yield from config_problems(value, (*path, str(name)))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from config_problems(value, path)
    elif isinstance(values, str) and redact(values) != values:
        yield _kept_out(path)
    elif isinstance(values, str) and any(map(_has_login, _ADDRESSES.findall(values))):
        yield f"{'.'.join(path)}: write the address without user, password and query."


def _kept_out(path: Sequence[str]) -> str:
    return (
        f"{'.'.join(path)}: its value is, or looks like, a key or password, and the configuration is written to the"
        " report. Leave it out and set an environment variable (HF_TOKEN, OPENAI_API_KEY) instead."
    )
