"""Reports of schema 1.x as schema 2.0 has them, and the settings that have another name since."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

RENAMED_SETTINGS: Mapping[str, str] = {
    "weight": "average",
    "asking.contrast_weight": "cad.weight",
    "asking.samples": "best_of_n.samples",
    "asking.temperature": "best_of_n.temperature",
    "asking.top_p": "best_of_n.top_p",
    "judge.by": "judge.name",
    "judge.validated": "judge.validation_file",
}
"""Old dotted key of the configuration -> new one."""
_RENAMED_KEYS = {"holes": "failures", "weight": "average"}
"""Old key of a report -> new one."""


def upgraded(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A report of schema 1.x with the keys of schema 2.0; any other report as it is.

    The digest stays that of the file: it is the run's name, in the store too.
    """
    if not values["schema_version"].startswith("1."):
        return values
    lifted = {_RENAMED_KEYS.get(key, key): value for key, value in values.items()}
    config = values.get("config")
    if isinstance(config, Mapping):
        lifted["config"], _ = with_new_names(config)
    return lifted | {"schema_version": "2.0"}


def with_new_names(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A copy of a configuration under the new names, and the old names that it had."""
    renamed: dict[str, Any] = copy.deepcopy(dict(config))
    found = [old for old, new in RENAMED_SETTINGS.items() if _move(renamed, old.split("."), new.split("."))]
    return renamed, found


def _move(config: dict[str, Any], old: list[str], new: list[str]) -> bool:
    """Move a value, and leave no empty section behind. Both keys have at most two parts."""
    source = config if len(old) == 1 else config.get(old[0])
    if not isinstance(source, dict) or old[-1] not in source:
        return False
    target = config if len(new) == 1 else config.setdefault(new[0], {})
    if isinstance(target, dict):
        target.setdefault(new[-1], source[old[-1]])
    del source[old[-1]]
    if not source:
        del config[old[0]]
    return True
