"""Reads YAML, of which JSON is a part: no aliases, no key twice, and numbers such as `1e-5`."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

_ERRORS = (yaml.YAMLError, ValueError, RecursionError)
"""Errors of the YAML parser: its own, ValueError for an invalid date, RecursionError for deep nesting."""
_REMEDIES = {
    "'\\t'": "Indent with blanks; YAML allows no tab there.",
    "escape": "Write the value in single quotes, in which a backslash is only a backslash.",
}
"""A part of the parser's message -> the remedy."""


class YamlError(ValueError):
    """A text is not YAML; the message names the line, the problem and, where it is known, the remedy."""


def parse_yaml(text: str) -> Any:
    """The value of a YAML text. A byte-order mark and Windows line ends are no part of it. Raises YamlError."""
    try:
        return yaml.load(text, Loader=_Plain)  # noqa: S506 - a safe loader
    except _ERRORS as error:
        raise YamlError(_explained(error)) from error


def _explained(error: BaseException) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem is None or error.problem_mark is None:
        return str(error)
    remedy = next((remedy for part, remedy in _REMEDIES.items() if part in error.problem), "")
    return f"line {error.problem_mark.line + 1}: {error.problem}. {remedy}".rstrip()


class _Plain(yaml.SafeLoader):
    """YAML without aliases, so that no value can contain itself or expand into thousands of copies."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node as `SafeLoader` does. Raises ComposerError for an alias."""
        if self.check_event(yaml.AliasEvent):
            raise ComposerError(None, None, "aliases (*name) are not read here", self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Construct a mapping as `SafeLoader` does. Raises ConstructorError for a key that occurs twice."""
        first: dict[str, int] = {}
        for key, _ in node.value:
            name = str(key.value)
            if name in first:
                problem = f"the key {name!r} occurs already in line {first[name]}; remove one of the two"
                raise ConstructorError(None, None, problem, key.start_mark)
            first[name] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


_Plain.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)  # YAML 1.1 reads 1e-5 as a text
