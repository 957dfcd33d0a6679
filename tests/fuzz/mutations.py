"""Changes to valid files as other programs, people and broken disks make them.

Every function takes a `random.Random`, so that hypothesis (`st.randoms`) and a plain loop with a seed share them.
"""

from __future__ import annotations

import codecs
import gzip
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

TEXTS = (
    *("", " ", "\x00", "\x1b[2J\x1b]0;x\x07", "\u202eevil\u2066", "a\u2028b\u0085c", "\ufeff", "\ud83d", "a\udcffb"),
    *("=1+1", "|*_`<b>", "[x](javascript:1)", "\\input{x}", "$x^2$", "%s %d {0} {x}", "../../etc", "~/x", "a\r\nb\tc"),
    *("1", "1.0", "-1", "1e400", "NaN", "true", "null", "0x10", "\u0661\u0662", "\u00bd", "\uff11\uff12", "1,000"),
    *("a", "b", "tie", "A", "none", "all", "[", "{", "[1, 2]", '{"a": 1}', "['x', 'y']", "x" * 3000, "é" * 300),
    *("<think>", "</think>", "####", "\\boxed{", "Answer:", "Answer: B", "#### 12", "1/2", "2026-01-02T03:04:05"),
)
NUMBERS = (
    *(
        0,
        -1,
        1,
        2,
        0.5,
        -0.0,
        1e-320,
        1e-300,
        1e15,
        1e16,
        1e100,
        1e154,
        1e308,
        -1e308,
        2**31,
        2**53 + 1,
        2**63,
        -(2**63),
    ),
    *(10**30, 10**400, float("nan"), float("inf"), float("-inf"), 1.0000000000000002, 0.1 + 0.2, 100, 3.0),
)
DEEP = "@deep@"
"""Stands for a value that is nested too deeply for `json.dumps`; `text_of` puts it in."""


def changed(value: Any, rng: Random, *, times: int = 3) -> Any:
    """The JSON value with one to `times` changes at random places."""
    for _ in range(rng.randint(1, times)):
        value = _changed_once(value, rng)
    return value


def _changed_once(value: Any, rng: Random) -> Any:
    if isinstance(value, dict) and value:
        if rng.random() < 0.2:
            return _other_keys(value, rng)
        key = rng.choice(list(value))
        return {**value, key: _changed_once(value[key], rng)}
    if isinstance(value, list) and value:
        if rng.random() < 0.2:
            return _other_elements(value, rng)
        place = rng.randrange(len(value))
        return [*value[:place], _changed_once(value[place], rng), *value[place + 1 :]]
    return other(value, rng)


def _other_keys(value: dict[str, Any], rng: Random) -> Any:
    keys = list(value)
    key, second = rng.choice(keys), rng.choice(keys)
    kind = rng.randrange(6)
    if kind == 0:
        return {k: v for k, v in value.items() if k != key}
    if kind == 1:
        return value | {rng.choice(TEXTS): other(value[key], rng)}
    if kind == 2:
        return value | {key: value[second], second: value[key]}
    if kind == 3:
        return {k if k != key else k.upper() + " ": v for k, v in value.items()}
    return other(value, rng) if kind == 4 else value | {key: other(value[key], rng)}


def _other_elements(value: list[Any], rng: Random) -> Any:
    place = rng.randrange(len(value))
    kind = rng.randrange(5)
    if kind == 0:
        return value[:place] + value[place + 1 :]
    if kind == 1:
        return [*value, value[place]]
    if kind == 2:
        return rng.sample(value, len(value))
    return [] if kind == 3 else other(value, rng)


def other(value: Any, rng: Random) -> Any:
    """Another value in place of this one: of the same type, of another one, or wrapped."""
    return rng.choice(_OTHERS)(value, rng)


def _alike(value: Any, rng: Random) -> Any:
    """A value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return rng.choice((-value, value + 1, value * 0.5 if abs(value) < 1e300 else 0.5, value * 1000))
    if isinstance(value, str):
        place = rng.randint(0, len(value))
        return rng.choice((value + rng.choice(TEXTS), value[:place], value[:place] + rng.choice(TEXTS) + value[place:]))
    return value


_OTHERS: tuple[Callable[[Any, Random], Any], ...] = (
    *[lambda _, rng: rng.choice(TEXTS)] * 3,
    *[lambda _, rng: rng.choice(NUMBERS)] * 3,
    *[_alike] * 3,
    lambda _, rng: rng.choice((None, True, False, [], {}, [None], {"": None})),
    lambda value, rng: rng.choice(([value], {"a": value}, [[[value]]])),
    lambda value, rng: str(value) if rng.random() < 0.9 else DEEP,
)


def text_of(values: Sequence[Any], rng: Random) -> bytes:
    """The values as JSON lines, now and then with a key twice or in a form that is not JSON lines."""
    lines = [_line(value, rng) for value in values]
    if rng.random() < 0.05:
        return ("[" + ",".join(lines) + "]").encode("utf-8", errors="surrogatepass")
    end = rng.choice(("\n", "\n", "\n", "\r\n", "\n\n"))
    return "".join(line + end for line in lines).encode("utf-8", errors="surrogatepass")


def _line(value: Any, rng: Random) -> str:
    line = json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=2 if rng.random() < 0.02 else None)
    if isinstance(value, dict) and value and rng.random() < 0.05:
        key = rng.choice(list(value))
        line = f"{{{json.dumps(key)}: {json.dumps(other(value[key], rng))}, {line[1:]}"
    size = rng.choice((30, 300, 100_000))
    return line.replace(f'"{DEEP}"', "[" * size + "]" * size)


def damaged(data: bytes, rng: Random) -> bytes:
    """The bytes with one to three changes, as a bad disk, an editor or a cut download makes them."""
    for _ in range(rng.randint(1, 3)):
        data = rng.choice(_DAMAGES)(data, rng)
    return data


def _flipped(data: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]


def _cut(data: bytes, rng: Random) -> bytes:
    return data[: rng.randint(0, len(data))]


def _without_part(data: bytes, rng: Random) -> bytes:
    begin, end = sorted(rng.randint(0, len(data)) for _ in range(2))
    return data[:begin] + data[end:]


def _doubled(data: bytes, rng: Random) -> bytes:
    begin, end = sorted(rng.randint(0, len(data)) for _ in range(2))
    return data[:end] + data[begin:end][:500] + data[end:]


def _inserted(data: bytes, rng: Random) -> bytes:
    place = rng.randint(0, len(data))
    token = rng.choice((*TEXTS, '"', "\\", "\n", ",", ":", "}", "]", "\\ud800", "9" * 400, "1e", "-", "{" * 40, "\t"))
    return data[:place] + token.encode("utf-8", errors="surrogatepass") + data[place:]


def _encoded(data: bytes, rng: Random) -> bytes:
    kind = rng.randrange(5)
    if kind == 0:
        return codecs.BOM_UTF8 + data
    if kind == 1:
        return data.decode("utf-8", errors="replace").encode("utf-16")
    if kind == 2:
        return data.decode("utf-8", errors="replace").encode("latin-1", errors="replace")
    return gzip.compress(data, 1, mtime=0) if kind == 3 else data.replace(b"\n", b"\r")


_DAMAGES: tuple[Callable[[bytes, Random], bytes], ...] = (_flipped, _cut, _without_part, _doubled, _inserted, _encoded)


def file_of(rows: Sequence[Any], rng: Random) -> bytes:
    """A file of JSON lines that was valid: most often with other values, else damaged, else both."""
    kind = rng.random()
    values = changed(list(rows), rng) if kind < 0.75 else list(rows)
    data = text_of(values if isinstance(values, list) else [values], rng)
    return damaged(data, rng) if kind > 0.65 else data


def prose(seeds: Sequence[str], rng: Random) -> str:
    """A text of pieces of other texts, as a model may write it."""
    pieces = [rng.choice(seeds) if rng.random() < 0.5 else rng.choice(TEXTS) for _ in range(rng.randint(1, 6))]
    text = rng.choice(("", " ", "\n", "\n\n")).join(pieces)
    if rng.random() < 0.5:
        place = rng.randint(0, len(text))
        text = text[:place] + chr(rng.choice((rng.randrange(128), rng.randrange(0x110000)))) + text[place:]
    return text[rng.randint(0, len(text)) :] if rng.random() < 0.1 else text
