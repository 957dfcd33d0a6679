"""Lists the differences between the environments of two runs that can change scores.

They are weights, number format, device, packages and settings; `diff_reports` puts them at the head of a diff.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mipo_bench.reports.records.report import Report

_SHOWN_ELSEWHERE = {
    *("model", "suite", "tasks", "baselines", "recipes", "limit", "noise_floor"),
    *("threads", "processes", "out", "store"),
}
"""Settings that choose arms, items or speed: a diff shows their effect elsewhere."""
_SHOWN = 12


def environment_notes(a: Report, b: Report) -> tuple[str, ...]:
    """One line for each kind of difference, A first."""
    kinds = {
        "base weights": (f"{a.model.name} {a.model.digest[:10]}", f"{b.model.name} {b.model.digest[:10]}"),
        "backend": (a.model.backend, b.model.backend),
        "number format": (a.model.dtype, b.model.dtype),
        "device": (a.model.device.split(":")[0], b.model.device.split(":")[0]),
        "machine": (str(a.provenance.hardware.get("machine")), str(b.provenance.hardware.get("machine"))),
        "average": (a.average, b.average),
        "alpha": (f"{a.alpha:g}", f"{b.alpha:g}"),
    }
    if a.model.digest == b.model.digest:
        del kinds["base weights"]
    lines = [f"{kind}: {left} in A, {right} in B" for kind, (left, right) in kinds.items() if left != right]
    packages = _changes(a.provenance.versions, b.provenance.versions)
    settings = _changes(_flat(a.config), _flat(b.config))
    lines += [f"package versions, A -> B: {packages}"] if packages else []
    lines += [f"settings, A -> B: {settings}"] if settings else []
    return tuple(lines)


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    names = [name for name in sorted({*a, *b}) if a.get(name) != b.get(name)]
    shown = [f"{name} {_text(a, name)} -> {_text(b, name)}" for name in names[:_SHOWN]]
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join([*shown, *more])


def _text(values: Mapping[str, Any], name: str) -> str:
    return str(values[name])[:60] if name in values else "absent"


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The settings by dotted key, without those in `_SHOWN_ELSEWHERE`."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if not prefix and key in _SHOWN_ELSEWHERE:
            continue
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
