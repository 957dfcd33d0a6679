"""Describes the settings: name, type in words, default and meaning, for the YAML template, the schema and the docs."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from mipo_bench.harness.config.include import Include
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.config.values import ConfigSection

SCHEMA_FILE = Path(__file__).with_name("run.schema.json")
"""The JSON Schema of the configuration, which `tests/config/test_settings_files.py` generates."""
_BOUNDS = {Gt: ("gt", ">"), Ge: ("ge", ">="), Lt: ("lt", "<"), Le: ("le", "<=")}
_WORDS = {
    bool: "true or false",
    int: "integer",
    float: "number",
    str: "text",
    Path: "path",
    Include: "path",
    type(None): "null",
}
_KEYWORDS = {"gt": "exclusiveMinimum", "ge": "minimum"}
"""Bounds behind a validator, which pydantic writes under its own names."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `path` is its key in each level, `default` the value of `RunConfig()`."""

    path: tuple[str, ...]
    kind: str
    default: Any
    meaning: str

    @property
    def name(self) -> str:
        """The dotted name, as `--set` takes it."""
        return ".".join(self.path)


def sections() -> Iterator[tuple[str, type[ConfigSection]]]:
    """The sections of the configuration in order; the first is the top level, under the name ''."""
    yield "", RunConfig
    for name, field in RunConfig.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, ConfigSection):
            yield name, field.annotation


def about(section: type[ConfigSection]) -> str:
    """The meaning of a section, on one line."""
    return _in_yaml(inspect.cleandoc(section.__doc__ or ""))


class DescribedSchema(GenerateJsonSchema):
    """A JSON Schema in which the docstring below a field describes it.

    pydantic's own `use_attribute_docstrings` reads them whenever a class is made, an eighth of the time of `show`.
    """

    def model_schema(self, schema: Any) -> dict[str, Any]:
        """The schema of one model."""
        made = super().model_schema(schema)
        for name, text in _docstrings(schema["cls"]).items():
            made["properties"][name].setdefault("description", text)
        return made


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings below the fields of a model, by field, those of its base classes first."""
    found: dict[str, str] = {}
    for part in reversed(model.__mro__[: model.__mro__.index(BaseModel)]):
        [node] = ast.parse(dedent(inspect.getsource(part))).body
        for field, below in pairwise(node.body if isinstance(node, ast.ClassDef) else []):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
                found[field.target.id] = inspect.cleandoc(ast.literal_eval(below.value))
    return found


def settings(prefix: str, section: type[ConfigSection]) -> Iterator[Setting]:
    """The settings of one section, in the order of the source; sections inside of it are left out."""
    inner = {name for name, _ in sections()}
    meanings = _docstrings(section)
    for name, field in section.model_fields.items():
        if prefix or name not in inner:
            path = (prefix, name) if prefix else (name,)
            meaning = _in_yaml(field.description or meanings.get(name))
            yield Setting(path, _kind(field.annotation, field.metadata), field.default, meaning)


def yaml_text(value: Any) -> str:
    """A value of a setting as YAML on one line, such as `5.0e-07`, `null` and `[a, b]`."""
    plain = _plain(value)
    text = yaml.safe_dump(plain, default_flow_style=True, width=2**20, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a configuration file: what an editor completes and checks while one is written."""
    schema = _tidy(RunConfig.model_json_schema(schema_generator=DescribedSchema))
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **schema, "title": "Settings of mipo-bench run"}


def _tidy(node: Any) -> Any:
    """The schema without pydantic's titles, with the standard's names of bounds; a section may be left empty."""
    if isinstance(node, list):
        return [_tidy(part) for part in node]
    if not isinstance(node, dict):
        return _in_yaml(node) if isinstance(node, str) and " " in node else node
    if "$ref" in node:
        return {"anyOf": [{"$ref": node["$ref"]}, {"type": "null"}]}
    return {_KEYWORDS.get(k, k): _tidy(v) for k, v in node.items() if k != "title" or isinstance(v, dict)}


def _plain(value: Any) -> Any:
    if isinstance(value, Include):
        return str(value.path)
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def _in_yaml(text: str | None) -> str:
    """A docstring on one line, with YAML's name of None."""
    return re.sub(r"\bNone\b", "null", " ".join((text or "").split()))


def _kind(annotation: Any, limits: Sequence[Any] = ()) -> str:
    """The type in words; `limits` are the bounds of the annotation, which do not apply to `null`."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(inner[0], inner[1:])
    if origin in (Union, UnionType):
        return " or ".join(_kind(part, limits) for part in inner)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is tuple:
        word, space, bound = _kind(inner[0]).partition(" ")
        return f"list of {word}s{space}{bound}"
    if origin is Mapping:
        return "mapping"
    facts = [fact for limit in limits for fact in (limit.metadata if isinstance(limit, FieldInfo) else [limit])]
    bounds = [
        f"{sign} {getattr(f, name):g}" for f in facts for kind, (name, sign) in _BOUNDS.items() if type(f) is kind
    ]
    return _WORDS[annotation] + (f" {' and '.join(bounds)}" if bounds and annotation is not type(None) else "")
