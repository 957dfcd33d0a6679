"""Reads the input of `mipo-bench read-answer`: one text, or JSON Lines with a response in each row."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mipo_bench.harness.core.jsonl import JsonLine, JsonLineError, json_lines
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.evaluation.answer_reader import GivenText

_MIN_OPTIONS = 2


@dataclass(frozen=True, slots=True)
class GivenTexts:
    """The texts of one input. `rows` says that it is JSON Lines, which get a summary."""

    texts: list[GivenText]
    rows: bool


@dataclass(frozen=True, slots=True)
class Defaults:
    """Options and item of the texts that have none. A row's own item counts only if the task `needs_item`."""

    options: tuple[str, ...] = ()
    item: str | None = None
    needs_item: bool = False


def given_texts(data: bytes, name: str, defaults: Defaults) -> GivenTexts:
    """The texts in `data`.

    Data are JSON Lines if their name ends with `.jsonl`, or if the first line is an object with a `response`. Raises
    ConfigError that names the file, the line and the field.
    """
    lines = list(json_lines(io.BytesIO(data)))
    if name.lower().endswith((".jsonl", ".ndjson")) or (lines and _is_row(lines[0])):
        if not lines:
            raise ConfigError(f"{name} has no rows: give an object with a response in each line.")
        return GivenTexts([_row(line, name, defaults) for line in lines], rows=True)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} is not UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}.") from error
    return GivenTexts([GivenText("the text", text, defaults.options, item=defaults.item)], rows=False)


def _is_row(line: JsonLine) -> bool:
    try:
        value = line.value()
    except JsonLineError:
        return False
    return isinstance(value, dict) and "response" in value


def _row(line: JsonLine, name: str, defaults: Defaults) -> GivenText:
    where = f"{name}, line {line.number}"
    try:
        row = line.value()
    except JsonLineError as error:
        raise ConfigError(f"{where} is not JSON: {error}.") from error
    if not isinstance(row, dict) or not isinstance(row.get("response"), str):
        raise ConfigError(f'{where}: a row must be an object with a text "response".')
    options, own = _options(row, where), _name(row, "item_id", where)
    label = _name(row, "id", where) or own or f"line {line.number}"
    item = defaults.item or (own if defaults.needs_item and not options else None)
    return GivenText(label, row["response"], options or defaults.options, _name(row, "target", where), item)


def _options(row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    found = row.get("options")
    if found is None:
        return ()
    if not isinstance(found, list) or len(found) < _MIN_OPTIONS or not all(isinstance(o, str) for o in found):
        raise ConfigError(f'{where}: "options" must be a list of two texts or more, not {found!r:.80}.')
    return tuple(found)


def _name(row: Mapping[str, Any], key: str, where: str) -> str | None:
    """A field that is a text, or a number as other programs write it; None if it is absent."""
    found = row.get(key)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        raise ConfigError(f"{where}: {key!r} must be a text or a number, not {found!r:.80}.")
    return str(int(found) if isinstance(found, float) and found.is_integer() else found)
