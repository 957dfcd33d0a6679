"""HELM's runs: a folder with `per_instance_stats.json` and `run_spec.json`.

{"instance_id": "id0", "train_trial_index": 0, "stats": [{"name": {"name": "exact_match", "split": "test"}, "mean": 1}]}

The item is `instance_id`; train trials, which have other examples in the prompt, are its samples.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mipo_bench.harness.errors import UserError
from mipo_bench.reports.logs.collect import Columns
from mipo_bench.reports.logs.record import Choice, Header, ScoreFile
from mipo_bench.reports.logs.rows import Row, listed, mapping, show, unknown_name
from mipo_bench.reports.logs.source import Source, open_source
from mipo_bench.reports.statistics.records import Caveat

NAME = "HELM"
CHOICES = ("metric", "filter")
FILE = "per_instance_stats.json"
NOT_PERTURBED = "none"
_MODEL = ("model", "model_deployment")


def is_folder(path: Path) -> bool:
    """Whether a folder, or one below it, is a run of HELM."""
    return any(True for _ in path.rglob(FILE))


def is_row(row: Mapping[str, Any]) -> bool:
    """Whether a JSON object has the statistics of one instance."""
    return "instance_id" in row and "stats" in row


def read(source: Source, choice: Choice) -> list[ScoreFile]:
    """The scores of one metric on the split `test`; `--filter` chooses a perturbation.

    Raises UserError for several runs, metrics or perturbations without a choice, two values of one metric that
    differ, and an instance without a score.
    """
    path = _stats_file(source)
    names, perturbations = _metric_names(path), _perturbations(path)
    if choice.metric not in names:
        problem = (
            unknown_name("metric", choice.metric, names)
            if choice.metric
            else f"choose a metric with --metric: {listed(names)}."
        )
        raise UserError(f"{path}: {problem}")
    chosen = choice.filter or (perturbations[0] if len(perturbations) == 1 else None)
    if chosen not in perturbations:
        problem = (
            unknown_name("filter", chosen, perturbations)
            if chosen
            else f"perturbed instances; choose with --filter: {listed(perturbations)}."
        )
        raise UserError(f"{path}: {problem}")
    return [_collected(path, choice, str(choice.metric), chosen)]


def metrics(source: Source, choice: Choice) -> list[Choice]:
    """Every metric of the split `test`, under every perturbation."""
    path = _stats_file(source)
    return [replace(choice, metric=name, filter=p) for name in _metric_names(path) for p in _perturbations(path)]


def _stats_file(source: Source) -> Path:
    if source.kind != "folder":
        return source.path
    files = sorted(source.path.rglob(FILE))
    if len(files) > 1:
        names = ", ".join(str(file.parent.relative_to(source.path)) for file in files)
        raise UserError(f"{source.path}: several runs ({names}); name the folder of one.")
    return files[0]


def _rows(path: Path) -> Iterator[Row]:
    return open_source(path).rows()


def _stats(row: Row) -> Iterator[Mapping[str, Any]]:
    """The statistics of an instance on the split `test`."""
    found = row.fields.get("stats")
    for entry in found if isinstance(found, list) else []:
        name = mapping(mapping(entry).get("name"))
        if name and name.get("split", "test") == "test":
            yield entry


def _metric_names(path: Path) -> list[str]:
    return sorted({str(entry["name"].get("name")) for row in _rows(path) for entry in _stats(row)})


def _perturbations(path: Path) -> list[str]:
    return list(dict.fromkeys(_perturbation(row) for row in _rows(path)))


def _perturbation(row: Row) -> str:
    found = row.fields.get("perturbation")
    return str(found.get("name")) if isinstance(found, Mapping) else NOT_PERTURBED


def _collected(path: Path, choice: Choice, metric: str, perturbation: str) -> ScoreFile:
    """An instance has one row for each class of metrics; the metric is in one of them, or the same in several."""
    values: dict[tuple[str, int], float | None] = {}
    places: dict[tuple[str, int], Row] = {}
    for row in _rows(path):
        if _perturbation(row) != perturbation or not any(_stats(row)):
            continue
        key = row.text("instance_id"), row.integer("train_trial_index") if row.has("train_trial_index") else 0
        places.setdefault(key, row)
        value, before = _value(row, metric), values.get(key)
        if None not in (value, before) and value != before:
            row.fail(f"{metric} of {key[0]} is {value:g} here and {before:g} before")
        values[key] = before if value is None else value
    columns = Columns(path, "row")
    for key, row in places.items():
        columns.add(
            key[0], row.number(metric, values[key], allow_missing=choice.allow_missing), row.place, sample=key[1]
        )
    trials = len({trial for _, trial in places})
    return columns.finish(_header(path, metric, perturbation, trials), twice="train_trial_index")


def _value(row: Row, metric: str) -> float | None:
    for entry in _stats(row):
        if entry["name"].get("name") == metric:
            if entry.get("count", 1) != 1:
                row.fail(
                    f"{metric} is a mean of {show(entry['count'])} values, and one value for each instance is needed"
                )
            return row.number(metric, entry.get("mean"), allow_missing=True)
    return None


def _header(path: Path, metric: str, perturbation: str, trials: int) -> Header:
    file = path.with_name("run_spec.json")
    if not file.exists():
        raise UserError(f"{path}: no run_spec.json beside it, which says what the instance ids mean; add it.")
    run = open_source(file).first
    adapter = mapping(run.get("adapter_spec"))
    prompt = {key: value for key, value in adapter.items() if key not in _MODEL}
    note = f"train trials: {trials}; they have other examples in the prompt, and are averaged"
    return Header(
        str(adapter.get("model") or ""),
        metric,
        perturbation,
        alike={"scenario": json.dumps(run.get("scenario_spec"), sort_keys=True)},
        told={"adapter": json.dumps(prompt, sort_keys=True)},
        notes=(Caveat("train_trials", note),) if trials > 1 else (),
        unit="row",
        item_name="instance_id",
    )
