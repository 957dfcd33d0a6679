"""The settings as the user gave them, and the source of each value of the configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mipo_bench.harness.config.loading import EMBEDDED_DEFAULTS, config_from, given_values, load_config, read_file
from mipo_bench.harness.config.presets import PRESETS
from mipo_bench.harness.config.schema import RunConfig

_NAMES = {"tasks": "--task", "skip_missing": "--skip-missing"}
"""Setting -> its option, where that is not --SETTING."""
_MAPPINGS = [("backend_args",), ("reference",), ("chat", "template")]
"""Settings whose entries are merged from several sources. (An option of the command line replaces `data` whole.)"""
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class GivenSettings:
    """A configuration file, `--set` entries and named options (None if not given)."""

    file: Path | None
    set_: tuple[str, ...]
    options: Mapping[str, Any]
    judges: tuple[str, ...] = ()
    cluster: str | None = None

    @property
    def _inner(self) -> dict[tuple[str, str], object]:
        """The path of each setting inside a section that has an option of its own -> the option's value."""
        name, *others = self.judges or (None,)
        given = {("judge", "name"): name, ("judge", "others"): others or None, ("cluster", "address"): self.cluster}
        return {path: value for path, value in given.items() if value is not None}

    @property
    def _settings(self) -> list[str]:
        return [*self.set_, *(f"{'.'.join(path)}={json.dumps(value)}" for path, value in self._inner.items())]

    def load(self) -> RunConfig:
        """The configuration. Raises ConfigError with all problems."""
        return load_config(self.file, self._settings, self.options)

    def sources(self) -> tuple[RunConfig, Callable[[tuple[str, ...]], str]]:
        """The configuration, and a function from the path of a setting to the source of its value.

        A source is `default`, `embedded default`, `preset paper`, the file, `--set` or an option. Those of a mapping,
        whose entries are merged, are listed in the order in which they are applied. Raises ConfigError.
        """
        in_file = read_file(self.file)
        values, problems = given_values(in_file, self._settings, self.options)
        config = config_from(values, problems)
        layers = [
            ("embedded default", EMBEDDED_DEFAULTS if config.model == "embedded" else {}),
            (f"preset {config.preset}", PRESETS[config.preset] if config.preset else {}),
        ]

        def source(path: tuple[str, ...]) -> str:
            found = [label for label, layer in layers if _has(layer, path)]
            own = list(self._own(in_file, path)) if _has(values, path) else []
            if path in _MAPPINGS:
                return ", ".join([*found, *own]) or DEFAULT
            if path == ("recipes",) and not own and not config.source.has_weights:
                return "the backend only answers"
            return [DEFAULT, *found, *own][-1]

        return config, source

    def _own(self, in_file: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
        """The user's own sources of a setting, the one with the last word at the end."""
        if _has(in_file, path):
            yield str(self.file)
        if any(_overlap(path, tuple(entry.partition("=")[0].strip().split("."))) for entry in self.set_):
            yield "--set"
        if path in self._inner:
            yield f"--{path[0]}"
        if self.options.get(path[0]) is not None:
            yield _NAMES.get(path[0], f"--{path[0]}")


def _has(values: Any, path: tuple[str, ...]) -> bool:
    """Whether nested mappings have a value at a path of keys."""
    for key in path:
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]
    return True


def _overlap(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """Whether one path is the beginning of the other."""
    return all(x == y for x, y in zip(a, b, strict=False))
