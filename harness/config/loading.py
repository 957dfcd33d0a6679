"""Loads the run configuration: defaults, preset, YAML file, `--set`, command line; the last one wins.

All problems are reported together, so that a user can repair the whole command at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from mipo_bench.harness.config.answer_source import OWN, AnswerSource
from mipo_bench.harness.config.presets import NOT_REPRODUCED, PRESETS, differences
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.config.values import ConfigSection, names
from mipo_bench.harness.core.redaction import config_problems, key_problems
from mipo_bench.harness.errors import ConfigError, shown, unknown
from mipo_bench.harness.types import SUITES
from mipo_bench.reports.records.upgrade import RENAMED_SETTINGS, with_new_names

EMBEDDED_DEFAULTS: Mapping[str, Any] = {
    "batch_size": 64,
    "threads": 1,
    "processes": 0,
    "train": {"lr": 1e-4, "batch_size": 16, "max_length": 512},
    "information": {"contexts": 16},
}
"""Defaults for the embedded model of a million parameters, which needs a larger learning rate than the paper's.

Its operations are so small that a second thread costs more in waiting than it computes; a second process helps.
Of a larger model, mutual information over 16 contexts would take longer than the answers of a run.

The training settings were chosen before any MIPO result of this model was seen: 1e-4 is the lower of the two learning
rates of a pilot on another model.
"""
_NO_TEXT = (int, float, date)
"""Values of YAML that a person may have meant as a name: numbers, true and false, dates."""
_FIXED = ("pretrained", "model", "use_safetensors", "load_format")
"""Backend arguments for the model's folder and weight format, which the harness sets itself."""


def load_config(file: Path | None, settings: Sequence[str], options: Mapping[str, Any]) -> RunConfig:
    """Merge the file, the settings and the options over the defaults, and validate.

    `settings` are `key=value` strings with dotted keys and YAML values; `options` are the command line's, None if not
    given. Raises ConfigError with all problems, one line each.
    """
    values, problems = given_values(read_file(file), settings, options)
    return config_from(values, problems)


def config_from(values: dict[str, Any], problems: list[str]) -> RunConfig:
    """The configuration of the values that the user gave. Raises ConfigError with these problems and all others."""
    problems = [*problems]
    preset = values.get("preset")
    if preset is not None and str(preset) not in PRESETS:
        problems.append(unknown("preset", str(preset), PRESETS))
        preset = None
    values, old_names = with_new_names(_merged(_defaults(values, preset), values))
    problems += [f"{old} is now {RENAMED_SETTINGS[old]}: give the value under that name." for old in old_names]
    problems += _take_unknown(values)
    problems += _backend_problems(values)
    secrets = list(config_problems(values))
    config, invalid = (None, []) if secrets else _validated(values)  # a message about a value would repeat the key
    problems += [*secrets, *invalid, *(_process_problems(config) if config else [])]
    if problems or config is None:
        raise ConfigError("\n".join(problems))
    return config


def given_values(
    in_file: Mapping[str, Any], settings: Sequence[str], options: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The values that the user gave, the later above the earlier, and a message for each wrong one of `settings`."""
    values = deepcopy(dict(in_file))
    problems = list(_put_settings(values, settings))
    values.update({k: v for k, v in options.items() if v is not None})
    return values, problems


def _validated(values: Mapping[str, Any]) -> tuple[RunConfig | None, list[str]]:
    """The configuration, or None with a message for each invalid value."""
    try:
        return RunConfig.model_validate(values), []
    except ValidationError as error:
        return None, [_explain(e) for e in error.errors()]


def _process_problems(config: RunConfig) -> Iterator[str]:
    """Problems of the number of processes that share a training."""
    processes, batch = config.train.processes, config.train.batch_size
    if batch % processes:
        yield (
            f"train.processes = {processes} does not divide train.batch_size = {batch}: each process takes an equal"
            " part of every batch. Change one of them."
        )
    if processes > 1 and config.processes > 1:
        yield (
            f"processes = {config.processes} and train.processes = {processes}: a run whose trainings take several"
            " devices is one process itself. Set processes to 1."
        )


def _backend_problems(values: dict[str, Any]) -> list[str]:
    """Problems of the backend's settings. Drops keys, and sets no recipes for a backend that cannot train."""
    arguments = values.get("backend_args")
    found = list(key_problems(arguments)) if isinstance(arguments, Mapping) else []
    if found:
        values["backend_args"] = {k: v for k, v in cast("Mapping[str, Any]", arguments).items() if k not in dict(found)}
    problems = [problem for _, problem in found]
    model, backend = str(values.get("model", "embedded")), str(values.get("backend", OWN))
    source = AnswerSource.of(model, backend)
    if arguments and backend == OWN:
        problems.append(
            "backend_args are for another backend; transformers takes its settings by name (dtype, device ...)."
        )
    if source.has_weights and isinstance(arguments, Mapping):
        problems += [
            f"backend_args.{name}: the model setting decides it, and weights are read from safetensors files alone."
            for name in _FIXED
            if name in arguments
        ]
    if source.kind == "responses" and backend != OWN:
        problems.append(f"backend {backend!r} is not used: the answers come from {model}. Leave it out.")
    if not source.has_weights:
        if names(values.get("recipes")):
            what = model if source.kind == "responses" else f"backend {backend!r}"
            problems.append(f"{what} only answers, it cannot train: set recipes to none, or leave them out.")
        values["recipes"] = []
    return problems


def _defaults(values: Mapping[str, Any], preset: str | None) -> Mapping[str, Any]:
    """The values that a user's own settings override: the model's defaults, and the preset, which overrides these."""
    usual = EMBEDDED_DEFAULTS if values.get("model", "embedded") == "embedded" else {}
    return _merged(usual, PRESETS[preset]) if preset else usual


def preset_notes(config: RunConfig) -> list[str]:
    """One line for each change by the preset of a run, and for each point it does not reproduce; none without one."""
    if config.preset is None:
        return []
    usual = load_config(None, [], {"model": config.model}).model_dump()
    changes = list(differences(PRESETS[config.preset], usual))
    return [
        *(f"preset {config.preset}: {line}" for line in changes),
        *(f"preset {config.preset}, not reproduced: {line}" for line in NOT_REPRODUCED[config.preset]),
    ]


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, section by section."""
    merged = {**base, **over}
    for key, value in base.items():
        if isinstance(value, Mapping) and isinstance(over.get(key), Mapping):
            merged[key] = _merged(value, over[key])
    return merged


def read_file(file: Path | None) -> dict[str, Any]:
    """The values of a file, none without one. A section without any setting counts as left out. Raises ConfigError."""
    if file is None:
        return {}
    from mipo_bench.harness.config.yaml_text import YamlError, parse_yaml  # most runs read none

    try:
        values = parse_yaml(file.read_text(encoding="utf-8"))
    except YamlError as error:
        raise ConfigError(f"{file} is not valid YAML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {file}: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{file} must hold keys and values, not a {type(values).__name__}.")
    return {str(k): v for k, v in values.items() if not (v is None and _is_section_name(str(k)))}


def _put_settings(values: dict[str, Any], settings: Sequence[str]) -> Iterator[str]:
    """Set every `key=value`; yields a message for each that is wrong."""
    for setting in settings:
        key, sep, text = setting.partition("=")
        if not sep or not key:
            yield f"--set {setting!r}: write it as key=value, for example train.lr=1e-5."
        elif problem := _put(values, key.strip(), text):
            yield problem


def _put(values: dict[str, Any], key: str, text: str) -> str | None:
    """Set a dotted key; returns a message if that fails, else None."""
    from mipo_bench.harness.config.yaml_text import YamlError, parse_yaml

    try:
        value = parse_yaml(text)
    except YamlError as error:
        return f"--set {key}: cannot read the value {text!r}: {error}"
    *path, last = key.split(".")
    for part in path:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            return f"--set {key}: {part!r} is not a section."
    values[last] = value
    return None


def _take_unknown(values: dict[str, Any]) -> list[str]:
    """Drop unknown keys; returns a message for each."""
    found = list(_unknown_keys(values, RunConfig))
    for path, _ in found:
        _drop(values, path)
    return [message for _, message in found]


def _unknown_keys(
    values: Mapping[str, Any], section: type[ConfigSection], prefix: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, value in values.items():
        path = (*prefix, key)
        field = section.model_fields.get(str(key))
        if field is None:
            name = ".".join(prefix)
            kind = f"key in section {name!r}:" if prefix else "configuration key"
            yield path, unknown(kind, str(key), section.model_fields) + _elsewhere(str(key))
        elif isinstance(value, Mapping) and _is_section(field.annotation):
            yield from _unknown_keys(value, cast("type[ConfigSection]", field.annotation), path)


def _elsewhere(key: str) -> str:
    """A sentence with the settings of other sections that an unknown key may mean; empty if there is none."""
    renamed = [new for old, new in RENAMED_SETTINGS.items() if old.startswith(f"{key}.")]
    found = renamed or [name for name in _setting_names(RunConfig) if name.endswith(f".{key}")]
    return f" There is {', '.join(found)}." if found else ""


def _setting_names(section: type[ConfigSection], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        if _is_section(field.annotation):
            yield from _setting_names(cast("type[ConfigSection]", field.annotation), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _is_section_name(key: str) -> bool:
    field = RunConfig.model_fields.get(key)
    return field is not None and _is_section(field.annotation)


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, ConfigSection)


def _drop(values: dict[str, Any], path: tuple[str, ...]) -> None:
    for part in path[:-1]:
        values = values[part]
    del values[path[-1]]


def _explain(error: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if key == "suite":
        return unknown("suite", str(error["input"]), [*SUITES, "all"])
    if error["type"] == "value_error":
        return f"{key} = {shown(str(error['input']))}: {str(error['ctx']['error']).rstrip('.')}."
    hint = " Write it in quotes." if error["type"] == "string_type" and isinstance(error["input"], _NO_TEXT) else ""
    return f"{key} = {shown(error['input'])}: {str(error['msg']).lower()}.{hint}"
