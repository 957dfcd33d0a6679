"""Upgrades reports of schema 1.x to schema 2.0, and settings with old names to the new names.

`report_file` upgrades reports when it reads them; `harness.config.loading` upgrades configuration files.
"""

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
    """A report of schema 1.x with the keys of schema 2.0; any other report unchanged.

    The digest remains that of the file, because it is the id of the run, in the store too.
    """
    if not values["schema_version"].startswith("1."):
        return values
    upgraded_values = {_RENAMED_KEYS.get(key, key): value for key, value in values.items()}
    config = values.get("config")
    if isinstance(config, Mapping):
        upgraded_values["config"], _ = with_new_names(config)
    return upgraded_values | {"schema_version": "2.0"}


def with_new_names(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A copy of a configuration with the new names, and the list of old names that it used."""
    renamed: dict[str, Any] = copy.deepcopy(dict(config))
    found = [old for old, new in RENAMED_SETTINGS.items() if _move(renamed, old.split("."), new.split("."))]
    return renamed, found


def _move(config: dict[str, Any], old: list[str], new: list[str]) -> bool:
    """Move a value and delete a section that becomes empty. Both keys have at most two parts."""
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
