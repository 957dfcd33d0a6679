"""Writes the configuration file of `mipo-bench new-config`: every setting, commented out, with its default."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mipo_bench.harness.config.describe import SCHEMA_FILE, Setting, about, sections, settings, yaml_text
from mipo_bench.harness.config.loading import EMBEDDED_DEFAULTS
from mipo_bench.harness.errors import StorageError

_WIDTH = 100
_HEAD = """\
# yaml-language-server: $schema={schema}
# Settings of mipo-bench, for `mipo-bench run --config FILE`. The line above lets an editor complete and check them.
#
# A line that begins with # and no blank is a setting with its default: remove the # to set it. What stays behind a #
# keeps its default, or the value of a preset. `mipo-bench config --config FILE` shows every value and its source.
"""


def template() -> str:
    """The file. As it stands it sets nothing; without the # before its settings it sets each to its default."""
    parts = [_HEAD.format(schema=SCHEMA_FILE.as_uri())]
    for name, section in sections():
        indent = "  " if name else ""
        heading = [*_comment(about(section), ""), *([f"{name}:"] if name else [])]
        entries = ["\n".join(_entry(setting, indent)) for setting in settings(name, section)]
        parts.append("\n".join([*heading, *entries]) + "\n")
    return "\n".join(parts)


def _entry(setting: Setting, indent: str) -> Iterator[str]:
    yield from _comment(f"{setting.meaning.rstrip('.')}. ({setting.kind}){_embedded(setting)}", indent)
    yield f"{indent}#{setting.path[-1]}: {yaml_text(setting.default)}"


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False
    )


def _embedded(setting: Setting) -> str:
    """A note on the default of the embedded model where that is another one."""
    value: Any = EMBEDDED_DEFAULTS
    for key in setting.path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return "" if value is None else f" The embedded model has {yaml_text(value)}."


def write_template(file: Path) -> None:
    """Write `template()` to a new file. Raises StorageError if the file exists or cannot be written."""
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(template())
    except FileExistsError as error:
        raise StorageError(
            f"{file} exists, and nothing is overwritten. Name another file, or remove this one."
        ) from error
    except OSError as error:
        raise StorageError(f"cannot write {file}: {error}. Name a file in a folder that exists.") from error
