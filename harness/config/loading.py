"""A run's configuration from defaults, preset, YAML file, `--set` and options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError
from yaml.composer import ComposerError

from mipo_bench.harness.config.presets import PRESETS, UNLIKE, differences
from mipo_bench.harness.config.schema import TRAINING_BACKENDS, RunConfig, Section
from mipo_bench.harness.core.redaction import config_problems, key_problems
from mipo_bench.harness.errors import ConfigError, unknown
from mipo_bench.harness.types import SUITES

EMBEDDED: Mapping[str, Any] = {
    "batch_size": 64,
    "threads": 1,
    "processes": 0,
    "train": {"lr": 1e-4, "batch_size": 16, "max_length": 512},
}
"""What suits a model of a million parameters, whose weights need larger steps than the paper's.

Its operations are so small that a second thread costs more in waiting than it computes: a second process is what helps.

The training settings were set before any MIPO result of it was seen: 1e-4 is the lower of the two learning rates of a
pilot on another model.
"""
_NO_YAML = (yaml.YAMLError, ValueError, RecursionError)
"""What YAML raises: of its own, for what looks like a date and is none, for what is nested too deeply."""
_FIXED = ("pretrained", "model", "use_safetensors", "load_format")
"""Arguments of backends that load a folder: which one, and how."""


def load_config(file: Path | None, settings: Sequence[str], options: Mapping[str, Any]) -> RunConfig:
    """Merge the three sources and validate.

    `settings` are `key=value` strings with dotted keys and YAML values; `options` are the command line's, None where
    not given. Raises ConfigError with every problem, a line each.
    """
    problems: list[str] = []
    values = _read_file(file) if file else {}
    for setting in settings:
        key, sep, text = setting.partition("=")
        if not sep or not key:
            problems.append(f"--set {setting!r}: write it as key=value, for example train.lr=1e-5.")
            continue
        problem = _put(values, key.strip(), text)
        problems += [problem] if problem else []
    values.update({k: v for k, v in options.items() if v is not None})
    preset = values.get("preset")
    if preset is not None and str(preset) not in PRESETS:
        problems.append(unknown("preset", str(preset), PRESETS))
        preset = None
    unknown_keys = list(_unknown_keys(values, RunConfig))
    problems += [message for _, message in unknown_keys]
    for path, _ in unknown_keys:
        _drop(values, path)
    values = _merged(_defaults(values, preset), values)
    problems += _backend_problems(values)
    problems += config_problems(values)
    try:
        config = RunConfig.model_validate(values)
    except ValidationError as error:
        problems += [_explain(e) for e in error.errors()]
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def _backend_problems(values: dict[str, Any]) -> list[str]:
    """What is wrong with the backend's settings. Keys are dropped; what cannot train has no recipes."""
    arguments = values.get("backend_args")
    found = list(key_problems(arguments)) if isinstance(arguments, Mapping) else []
    if found:
        values["backend_args"] = {k: v for k, v in cast("Mapping[str, Any]", arguments).items() if k not in dict(found)}
    problems = [problem for _, problem in found]
    backend = values.get("backend", "transformers")
    problems += [
        f"backend_args.{name}: it is decided by --model; weights are read from its safetensors alone."
        for name in _FIXED
        if backend in TRAINING_BACKENDS and isinstance(arguments, Mapping) and name in arguments
    ]
    if backend == "transformers" and arguments:
        problems.append("backend_args are for --backend; transformers takes its settings by name (dtype, device ...).")
    if backend != "transformers" and str(values.get("model", "")).endswith(".jsonl"):
        problems.append(
            f"backend {backend!r} would not be asked: the answers are those of {values['model']}. Leave it out."
        )
    if backend not in TRAINING_BACKENDS:
        if values.get("recipes"):
            problems.append(f"backend {backend!r} only answers, it cannot train: give --recipes none, or leave it out.")
        values["recipes"] = []
    return problems


def _defaults(values: Mapping[str, Any], preset: str | None) -> Mapping[str, Any]:
    """What lies beneath the user's own values: what suits the model, and the preset on top of it."""
    usual = EMBEDDED if values.get("model", "embedded") == "embedded" else {}
    return _merged(usual, PRESETS[preset]) if preset else usual


def preset_notes(config: RunConfig) -> list[str]:
    """What the preset of a run changes, and what it leaves undone; empty without one."""
    if config.preset is None:
        return []
    usual = load_config(None, [], {"model": config.model}).model_dump()
    changes = list(differences(PRESETS[config.preset], usual))
    return [
        *(f"preset {config.preset}: {line}" for line in changes),
        *(f"preset {config.preset}, not reproduced: {line}" for line in UNLIKE[config.preset]),
    ]


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, section by section."""
    merged = {**base, **over}
    for key, value in base.items():
        if isinstance(value, Mapping) and isinstance(over.get(key), Mapping):
            merged[key] = _merged(value, over[key])
    return merged


class _Plain(yaml.SafeLoader):
    """YAML without aliases: nothing in a configuration contains itself, or a thousand times another thing."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """See yaml. Raises ComposerError for an alias."""
        if self.check_event(yaml.AliasEvent):
            raise ComposerError(None, None, "aliases (*name) are not read here", self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)


def _read_file(file: Path) -> dict[str, Any]:
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), Loader=_Plain)  # noqa: S506 - a safe loader
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {file}: {error}") from error
    except _NO_YAML as error:
        raise ConfigError(f"{file} is not valid YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{file} must hold keys and values, not a {type(values).__name__}.")
    return {str(k): v for k, v in values.items()}


def _put(values: dict[str, Any], key: str, text: str) -> str | None:
    """Set a dotted key; the problem in words, or None."""
    try:
        value = _number_or_value(yaml.load(text, Loader=_Plain))  # noqa: S506 - a safe loader
    except _NO_YAML as error:
        return f"--set {key}: cannot read the value {text!r}: {error}"
    *path, last = key.split(".")
    for part in path:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            return f"--set {key}: {part!r} is not a section."
    values[last] = value
    return None


def _number_or_value(value: Any) -> Any:
    """YAML 1.1 reads `1e-5` as a string; everybody who writes it means the number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _unknown_keys(
    values: Mapping[str, Any], section: type[Section], prefix: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, value in values.items():
        path = (*prefix, key)
        field = section.model_fields.get(str(key))
        if field is None:
            name = ".".join(prefix)
            kind = f"key in section {name!r}:" if prefix else "configuration key"
            yield path, unknown(kind, str(key), section.model_fields)
        elif isinstance(value, Mapping) and _is_section(field.annotation):
            yield from _unknown_keys(value, cast("type[Section]", field.annotation), path)


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _drop(values: dict[str, Any], path: tuple[str, ...]) -> None:
    for part in path[:-1]:
        values = values[part]
    del values[path[-1]]


def _explain(error: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if key == "suite":
        return unknown("suite", str(error["input"]), [*SUITES, "all"])
    if error["type"] == "value_error":
        return f"{key} = {str(error['input'])!r}: {str(error['ctx']['error']).rstrip('.')}."
    return f"{key} = {error['input']!r}: {str(error['msg']).lower()}."
