"""docs/configuration.md is generated from the docstrings of the settings, and must equal them.

After a change of a setting, run this file with `MIPO_BENCH_UPDATE_GOLDEN=1` to rewrite the page.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import os
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from paths import ROOT
from pydantic.fields import FieldInfo

from mipo_bench.harness.config.loading import EMBEDDED_DEFAULTS
from mipo_bench.harness.config.schema import ConfigSection, Include, RunConfig

PAGE = ROOT / "docs" / "configuration.md"
HEAD = """# Configuration

Settings come from the defaults, then a preset, then a YAML file (`--config FILE`), then `--set KEY=VALUE`, then the
named options; the later one wins. Keys of `--set` are dotted, and values are YAML:

```
mipo-bench run --config run.yaml --set train.lr=1e-5 --set 'grid.beta=[0.05, 0.1]'
```

```yaml
model: Qwen/Qwen2.5-1.5B-Instruct
tasks: [prism]
seeds: 5
train: {method: lora, lr: 1.0e-5}
judge: {name: openai:Qwen/Qwen2.5-14B-Instruct@http://localhost:8000/v1}
```

A single value is a list of one. `none` is an empty list of baselines, recipes or arms; `all` is every baseline or
recipe. `~` is the home folder in every path. JSON is read as well.

An unknown key, a value of the wrong type and a key under its old name are errors (exit code 2). All of them are
reported at once, each with the nearest key or the new name. A key may not occur twice in a file.
Secrets never belong here: keys and passwords come from the environment (`HF_TOKEN`, `OPENAI_API_KEY`,
`MIPO_BENCH_API_KEY`). `mipo-bench run --preset paper --dry-run` shows how a
preset differs from the defaults.

Two defaults depend on others. With `model: embedded` the settings of the last section apply. With a backend that only
answers, `recipes` is empty.

This page is generated from the settings' docstrings by `tests/config/test_configuration_page.py`.
"""
BOUNDS = {Gt: ("gt", ">"), Ge: ("ge", ">="), Lt: ("lt", "<"), Le: ("le", "<=")}
WORDS = {
    bool: "true or false",
    int: "integer",
    float: "number",
    str: "text",
    Path: "path",
    Include: "path",
    type(None): "null",
}
COMMON = {
    "temperature": "Sampling temperature; 0, where it is allowed, is greedy.",
    "top_p": "Nucleus sampling: the share of probability from which tokens are drawn.",
}
"""Descriptions of settings that have the same meaning in every section."""


@dataclass(frozen=True)
class Setting:
    """One row of the page."""

    name: str
    kind: str
    default: str
    meaning: str


def docstrings(section: type[ConfigSection]) -> dict[str, str]:
    """Field -> its docstring in the source, on one line."""
    body = ast.parse(textwrap.dedent(inspect.getsource(section))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            assert isinstance(text.value, ast.Constant)
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found


def sections() -> Iterator[tuple[str, type[ConfigSection]]]:
    """The sections of the configuration in order; the first is the top level, under the name ''."""
    yield "", RunConfig
    for name, field in RunConfig.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, ConfigSection):
            yield name, field.annotation


def settings(prefix: str, section: type[ConfigSection]) -> Iterator[Setting]:
    """The settings of one section, in the order of the source."""
    meanings = docstrings(section)
    inner = {name for name, _ in sections()}
    for name, field in section.model_fields.items():
        if not prefix and name in inner:
            continue
        meaning = meanings.get(name, COMMON.get(name, "")).replace("|", "\\|")
        meaning = re.sub(r"\bNone\b", "`null`", meaning)
        yield Setting(f"{prefix}.{name}" if prefix else name, kind_of(field), default_of(field), meaning)


def kind_of(field: FieldInfo) -> str:
    """The type in words, with its bounds."""
    return _type(field.annotation, field.metadata)


def _type(annotation: Any, limits: Sequence[Any] = ()) -> str:
    """The type in words; `limits` are the bounds of the annotation, which do not apply to `null`."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inner[0], inner[1:])
    if origin in (Union, UnionType):
        return " or ".join(_type(part, limits) for part in inner)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is tuple:
        word, space, bound = _type(inner[0]).partition(" ")
        return f"list of {word}s{space}{bound}"
    if origin is Mapping:
        return "mapping"
    facts = [fact for limit in limits for fact in (limit.metadata if isinstance(limit, FieldInfo) else [limit])]
    bounds = [f"{sign} {getattr(f, name):g}" for f in facts for kind, (name, sign) in BOUNDS.items() if type(f) is kind]
    return WORDS[annotation] + (f" {' and '.join(bounds)}" if bounds and annotation is not type(None) else "")


def default_of(field: FieldInfo) -> str:
    """The default in YAML."""
    value = field.default
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict | tuple):
        assert not value
        return "{}" if isinstance(value, dict) else "[]"
    return str(value)


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, section in sections():
        about = " ".join(inspect.cleandoc(section.__doc__ or "").split())
        rows = "\n".join(
            f"| `{s.name}` | {s.kind} | `{s.default}` | {s.meaning} |".replace("|  |", "| |")
            for s in settings(name, section)
        )
        heading = f"## `{name}`" if name else "## Top level"
        parts.append(f"{heading}\n\n{about}\n\n| setting | type | default | meaning |\n|---|---|---|---|\n{rows}\n")
    flat = "\n".join(f"| `{name}` | `{value:g}` |" for name, value in _flat(dict(EMBEDDED_DEFAULTS)))
    parts.append(f"## Defaults of the embedded model\n\n| setting | value |\n|---|---|\n{flat}\n")
    return "\n".join(parts)


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def test_the_page_is_up_to_date() -> None:
    if os.environ.get("MIPO_BENCH_UPDATE_GOLDEN"):
        PAGE.write_text(page(), encoding="utf-8")
    written = PAGE.read_text(encoding="utf-8")
    diff = difflib.unified_diff(written.splitlines(), page().splitlines(), str(PAGE), "now", lineterm="")
    assert written == page(), "\n".join(diff)


def test_every_setting_says_what_it_does() -> None:
    silent = [s.name for name, section in sections() for s in settings(name, section) if not s.meaning]
    assert silent == []
