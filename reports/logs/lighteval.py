"""lighteval's details: `details/MODEL/DATE/details_TASK_DATE.parquet`, as version 0.13 writes them.

Columns `doc` (with `id` and `query`), `metric` (a number for each metric) and `model_response`. The item is the query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mipo_bench.harness.errors import UserError
from mipo_bench.reports.logs.collect import Columns
from mipo_bench.reports.logs.record import Choice, Header, ScoreFile
from mipo_bench.reports.logs.rows import Row, listed, mapping, short_id, unknown_name
from mipo_bench.reports.logs.source import Source, open_source

NAME = "lighteval"
CHOICES = ("metric", "task", "user")
COLUMNS = {"doc", "metric", "model_response"}
_DETAILS = re.compile(r"details_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+)\.parquet")


@dataclass(frozen=True, slots=True)
class _Details:
    """A file of details, its task, date and model, and the results of the same run; {} if there are none."""

    path: Path
    task: str = ""
    date: str = ""
    model: str = ""
    results: Mapping[str, Any] = field(default_factory=dict)


def is_folder(path: Path) -> bool:
    """Whether a folder, or one below it, holds details of lighteval."""
    return any(True for _ in path.rglob("details_*.parquet"))


def read(source: Source, choice: Choice) -> list[ScoreFile]:
    """The scores of one task, `--task` in a folder with several, and of one metric.

    Raises UserError for several tasks or metrics without a choice, a metric of the whole corpus, and a row without a
    score.
    """
    (details,) = _chosen(source, choice)
    metric = _metric(details, choice)
    columns = Columns(details.path, "row", choice.columns.get("user", ""))
    occurrences: dict[str, int] = {}
    for row in _scored(details.path, metric):
        query = row.get("doc.query")
        if not isinstance(query, str):
            row.fail("doc has no query: no file of lighteval 0.13")
        item = short_id(query)
        occurrences[item] = occurrences.get(item, -1) + 1
        user = choice.columns.get("user")
        columns.add(
            item,
            row.number(metric, row.get("metric")[metric], allow_missing=choice.allow_missing),
            row.place,
            user=row.text(user) if user else None,
            sample=occurrences[item],
        )
    return [columns.finish(_header(details, metric), samples=False, twice="id")]


def metrics(source: Source, choice: Choice) -> list[Choice]:
    """Every task and metric."""
    found = _latest(_all(source))
    return [replace(choice, task=d.task or None, metric=name) for d in found for name in _metric_names(d.path)]


def _rows(path: Path) -> Iterator[Row]:
    return open_source(path).rows(("doc", "metric"))


def _metric_names(path: Path) -> list[str]:
    rows = _rows(path)
    return list(dict.fromkeys(name for row in rows for name, value in _values(row).items() if value is not None))


def _values(row: Row) -> Mapping[str, Any]:
    values = row.get("metric")
    if not isinstance(values, Mapping):
        row.fail("metric is no object: no file of lighteval 0.13")
    return values


def _scored(path: Path, metric: str) -> list[Row]:
    """One row for each document, in the order of their ids: the one with the metric, if any has it.

    The file has them in a random order. A task with metrics of texts and of likelihoods writes each document twice.
    """
    rows: dict[tuple[str, str], Row] = {}
    for row in sorted(_rows(path), key=lambda row: (len(str(row.get("doc.id"))), str(row.get("doc.id")))):
        document = str(row.get("doc.id")), str(row.get("doc.query"))
        if (
            document in rows
            and _values(rows[document]).get(metric) is not None
            and _values(row).get(metric) is not None
        ):
            row.fail(f"the document {document[0]!r} has {metric} on row {rows[document].place} too")
        if document not in rows or _values(row).get(metric) is not None:
            rows[document] = row
    return list(rows.values())


def _metric(details: _Details, choice: Choice) -> str:
    names = _metric_names(details.path)
    if choice.metric and choice.metric not in names:
        raise UserError(f"{details.path}: {unknown_name('metric', choice.metric, names)}")
    if not choice.metric and len(names) != 1:
        raise UserError(
            f"{details.path}: choose a metric with --metric: {listed(names) if names else 'no row has one'}."
        )
    return choice.metric or names[0]


def _chosen(source: Source, choice: Choice) -> list[_Details]:
    found = _latest(_all(source))
    if choice.task is not None:
        chosen = [details for details in found if fnmatchcase(details.task, choice.task)]
        if not chosen:
            raise UserError(f"{source.path}: {unknown_name('task', choice.task, [details.task for details in found])}")
        found = chosen
    if len(found) > 1:
        names = ", ".join(sorted(details.task for details in found))
        raise UserError(f"{source.path}: {len(found)} tasks; choose one with --task: {names}.")
    return found


def _all(source: Source) -> list[_Details]:
    files = sorted(source.path.rglob("details_*.parquet")) if source.kind == "folder" else [source.path]
    found = [_details(file) for file in files]
    models = sorted({details.model for details in found})
    if len(models) > 1:
        raise UserError(f"{source.path}: details of several models ({', '.join(models)}); name the folder of one.")
    return found


def _details(path: Path) -> _Details:
    named = _DETAILS.fullmatch(path.name)
    if named is None:
        return _Details(path)
    parents = {folder.name: folder for folder in path.absolute().parents}
    if "details" not in parents:
        return _Details(path, named["task"], named["date"])
    model = path.absolute().parent.parent.relative_to(parents["details"])
    results = parents["details"].parent / "results" / model / f"results_{named['date']}.json"
    found = open_source(results).first if results.exists() else {}
    return _Details(path, named["task"], named["date"], str(model), found)


def _latest(found: list[_Details]) -> list[_Details]:
    """The newest details of each task."""
    return list({details.task: details for details in sorted(found, key=lambda details: details.date)}.values())


def _header(details: _Details, metric: str) -> Header:
    model = mapping(details.results.get("config_general")).get("model_name")
    return Header(
        str(model or details.model),
        metric,
        alike={"task": details.task} if details.task else {},
        unit="row",
        item_name="query",
    )
