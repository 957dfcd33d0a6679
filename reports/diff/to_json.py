"""Writes a diff as one JSON object, with full precision and complete lists (`mipo-bench diff --format json`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mipo_bench.reports.diff.gate import WORDS, Gate, GateResult
from mipo_bench.reports.diff.page import ItemLists
from mipo_bench.reports.diff.records import ArmDiff, ItemChange, ReportDiff, Side
from mipo_bench.reports.records.report_file import run_id

FORMAT = "2.1"


def diff_to_json(diff: ReportDiff, gate: Gate | None, gate_result: GateResult | None, items: ItemLists | None) -> str:
    """The whole diff as JSON text; `gate` is null without a gate."""
    values = {
        "diff_version": FORMAT,
        "a": _side(diff.a),
        "b": _side(diff.b),
        "average": diff.average,
        "alpha": diff.alpha,
        "family_size": len(diff.tested),
        "tasks": [asdict(task) for task in diff.tasks],
        "arms": [_arm(arm, items) for arm in diff.arms],
        "only_a": diff.only_a,
        "only_b": diff.only_b,
        "notes": diff.notes,
        "gate": _gate(gate, gate_result) if gate and gate_result else None,
    }
    return json.dumps(values, indent=1, allow_nan=False) + "\n"


def _side(side: Side) -> dict[str, Any]:
    r = side.report
    return {
        "label": side.label,
        "dirty": side.dirty or r.provenance.dirty,
        "run": run_id(r),
        "created": r.created,
        "commit": r.provenance.commit,
        "model": r.model.model_dump(),
    }


def _arm(arm: ArmDiff, items: ItemLists | None) -> dict[str, Any]:
    values = asdict(arm) | {"warnings": list(arm.warnings)}
    if items:
        for kind, changes in (("regressed", arm.regressed), ("improved", arm.improved)):
            values[kind] = _with_texts(arm, changes, items)
    return values


def _with_texts(arm: ArmDiff, changes: Sequence[ItemChange], items: ItemLists) -> list[dict[str, Any]]:
    shown = [asdict(c) | {"texts": [asdict(q) for q in items.texts(arm, c.item)]} for c in changes[: items.limit]]
    return shown + [asdict(c) for c in changes[items.limit :]]


def _gate(gate: Gate, gate_result: GateResult) -> dict[str, Any]:
    return {
        "kind": gate.kind,
        "margins": dict(gate.margins),
        "exit_code": gate_result.code,
        "verdict": WORDS[gate_result.code],
        "reasons": list(gate_result.reasons),
        "earlier_failures": list(gate_result.earlier_failures),
    }
