"""lm-eval's samples (`--log_samples`), alone or in the output folder beside `results_DATE.json`.

{"doc_id": 0, "doc_hash": "ab..", "filter": "none", "metrics": ["acc"], "acc": 1.0, "target_hash": "..", ...}

The item is `doc_hash`. A document that occurs several times counts as often, as in lm-eval's own mean.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from mipo_bench.harness.errors import UserError
from mipo_bench.reports.logs.collect import Columns, pooled
from mipo_bench.reports.logs.record import PROMPTS, Choice, Header, ScoreFile
from mipo_bench.reports.logs.rows import Row, listed, mapping, unknown_name
from mipo_bench.reports.logs.source import Source, inside, open_source
from mipo_bench.reports.statistics.records import Caveat

NAME = "lm-eval"
CHOICES = ("metric", "filter", "task", "user")
NO_FILTER = "none"
"""lm-eval's name for "no filter"; rows of older versions lack the field."""
_SAMPLES = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+)\.jsonl")
_LOWER = ("perplexity", "bits", "loss", "wer", "cer", "ter", "brier")
_TWICE = "train_seed and doc_id. Write one run to each file"


@dataclass(frozen=True, slots=True)
class _Run:
    """A samples file, its task, and the results of the same run; {} if there are none beside it.

    `older` is the number of earlier runs of the task in the folder, which are not read.
    """

    path: Path
    task: str = ""
    date: str = ""
    older: int = 0
    results: Mapping[str, Any] = field(default_factory=dict)

    def of_task(self, key: str) -> Any:
        """The entry of this task in one part of the results; None if there is none."""
        return mapping(self.results.get(key)).get(self.task)


def is_folder(path: Path) -> bool:
    """Whether a folder, or one below it, holds samples or results of lm-eval."""
    return any(True for _ in path.rglob("samples_*.jsonl")) or any(True for _ in path.rglob("results_*.json"))


def read(source: Source, choice: Choice) -> list[ScoreFile]:
    """The scores of one task, or of all tasks that the pattern `--task` matches, as one arm.

    Raises UserError for several metrics, filters or tasks without a choice, for a metric that is no mean over
    documents, and for what `collect.Columns` refuses.
    """
    runs = _runs(source, choice)
    found = [_read_run(run, choice) for run in runs]
    if len(found) == 1:
        return found
    return [pooled(source.path, {run.task: one for run, one in zip(runs, found, strict=True)})]


def metrics(source: Source, choice: Choice) -> list[Choice]:
    """Every task, metric and filter of the file or folder."""
    found = []
    for run in _latest(_all_runs(source)):
        pairs = dict.fromkeys((m, str(r.fields.get("filter", NO_FILTER))) for r in _rows(run.path) for m in _listed(r))
        found += [replace(choice, task=run.task or None, metric=metric, filter=name) for metric, name in pairs]
    return found


def _rows(path: Path) -> Iterator[Row]:
    return open_source(path).rows()


def _runs(source: Source, choice: Choice) -> list[_Run]:
    runs = _latest(_all_runs(source))
    tasks = [run.task for run in runs]
    if choice.task is not None and (source.kind == "folder" or tasks != [""]):
        chosen = [run for run in runs if fnmatchcase(run.task, choice.task)]
        if not chosen:
            raise UserError(f"{source.path}: {unknown_name('task', choice.task, tasks)}")
        return chosen
    if len(runs) > 1:
        raise UserError(
            f"{source.path}: {len(runs)} tasks; choose one with --task, or several with a pattern such as "
            f"'mmlu_*': {', '.join(sorted(tasks))}."
        )
    return runs


def _all_runs(source: Source) -> list[_Run]:
    """The samples files of a folder, or the file itself, each with the results of its run."""
    if source.kind != "folder":
        named = _SAMPLES.fullmatch(source.path.name)
        results = _results(source.path.parent, named["date"]) if named else {}
        return [_Run(source.path, named["task"] if named else "", named["date"] if named else "", results=results)]
    files = sorted(source.path.rglob("samples_*.jsonl"))
    folders = sorted({file.parent for file in files})
    if len(folders) > 1:
        names = ", ".join(str(folder.relative_to(source.path)) for folder in folders)
        raise UserError(f"{source.path}: samples of several models ({names}); name one of these folders.")
    named_files = [(file, found) for file in files if (found := _SAMPLES.fullmatch(file.name))]
    if not named_files:
        raise UserError(
            f"{source.path}: a folder of lm-eval without samples_TASK_DATE.jsonl; run lm-eval with --log_samples. "
            f"{inside(source.path)}"
        )
    return [_Run(file, m["task"], m["date"], results=_results(file.parent, m["date"])) for file, m in named_files]


def _results(folder: Path, date: str) -> Mapping[str, Any]:
    path = folder / f"results_{date}.json"
    if not path.exists():
        return {}
    found = open_source(path)
    if not isinstance(found.first.get("results"), Mapping):
        raise UserError(f"{path}: no results of lm-eval; repair or remove the file.")
    return found.first


def _latest(runs: list[_Run]) -> list[_Run]:
    """The newest run of each task."""
    counts = Counter(run.task for run in runs)
    newest = {run.task: run for run in sorted(runs, key=lambda run: run.date)}
    return [replace(run, older=counts[run.task] - 1) for run in newest.values()]


def _read_run(run: _Run, choice: Choice) -> ScoreFile:
    metric: str | None = None
    columns = Columns(run.path)
    filters: dict[str, int] = {}
    prompts: dict[str, None] = {}
    for row in _rows(run.path):
        if metric is None:
            metric = _metric(row, choice)
            _refuse_no_mean(run, row, metric)
            columns.unit = row.unit
        name = str(row.fields.get("filter", NO_FILTER))
        filters.setdefault(name, row.place)
        if choice.filter in {None, name}:
            _add(columns, row, metric, choice)
            prompts.setdefault(str(row.fields.get("prompt_hash") or ""))
    chosen = _one_filter(run.path, filters, choice)
    header = _header(run, metric, chosen, columns.unit, prompts)
    return _checked(run, columns.finish(header, samples=False, twice=_TWICE))


def _add(columns: Columns, row: Row, metric: str, choice: Choice) -> None:
    value = row.get(metric)
    if isinstance(value, list):
        row.fail(
            f"{metric} is a list: a metric of the whole corpus, which no document has a score in. A finite number is "
            "needed; choose another with --metric"
        )
    user, named = choice.columns.get("user", "user_id"), "user" in choice.columns
    columns.add(
        row.text("doc_hash"),
        row.score(metric, allow_missing=choice.allow_missing, values=choice.values),
        row.place,
        user=row.text(user) if named or row.has(user) else None,
        seed=row.integer("train_seed") if row.has("train_seed") else None,
        sample=row.integer("doc_id") if row.has("doc_id") else 0,
        input_=str(row.fields.get("target_hash") or ""),
    )


def _listed(row: Row) -> list[str]:
    given = row.fields.get("metrics")
    return [str(name) for name in given] if isinstance(given, list) else []


def _metric(first: Row, choice: Choice) -> str:
    if "doc_hash" not in first.fields:
        first.fail(
            "doc_id without doc_hash, as older versions of lm-eval wrote samples: nothing shows that two files have "
            "the same documents. If they have, name the columns: --item doc_id --score acc"
        )
    metrics = _listed(first)
    if choice.metric and metrics and choice.metric not in metrics:
        first.fail(unknown_name("metric", choice.metric, metrics).rstrip("."))
    if not choice.metric and len(metrics) != 1:
        first.fail(f"choose a metric with --metric: {listed(metrics) if metrics else 'the row lists none'}")
    return choice.metric or metrics[0]


def _one_filter(path: Path, filters: Mapping[str, int], choice: Choice) -> str | None:
    names = list(filters)
    if not names:
        return None
    if choice.filter and choice.filter not in names:
        raise UserError(f"{path}: {unknown_name('filter', choice.filter, names)}")
    if not choice.filter and len(names) > 1:
        raise UserError(f"{path}: several filters; choose one with --filter: {listed(names)}.")
    return choice.filter or names[0]


def _refuse_no_mean(run: _Run, first: Row, metric: str) -> None:
    """Refuse a metric whose aggregation in the task's configuration is no mean."""
    given = mapping(run.of_task("configs")).get("metric_list")
    entries = [e for e in given if isinstance(e, Mapping)] if isinstance(given, list) else []
    aggregation = next((e.get("aggregation") for e in entries if e.get("metric") == metric), None)
    if isinstance(aggregation, str) and aggregation != "mean":
        first.fail(f"lm-eval aggregates {metric} by {aggregation}, and a mean over documents is needed")
    if not run.results and not isinstance(first.get(metric), list) and any(word in metric.lower() for word in _LOWER):
        first.fail(
            f"lower may be better for {metric}, and there is no results_DATE.json beside the file that says so. Keep "
            "the samples in lm-eval's output folder"
        )


def _header(run: _Run, metric: str | None, chosen: str | None, unit: str, prompts: Mapping[str, None]) -> Header:
    model, version = run.results.get("model_name"), run.of_task("versions")
    told = {
        "number of shots": run.of_task("n-shot"),
        "limit": mapping(run.results["config"]).get("limit") or "none" if run.results.get("config") else None,
        "chat template": run.results.get("chat_template_sha"),
        PROMPTS: " ".join(prompts),
    }
    return Header(
        model if isinstance(model, str) else "",
        metric,
        chosen,
        alike={"task version": str(version)} if version is not None else {},
        told={key: str(value) for key, value in told.items() if value not in (None, "")},
        notes=(Caveat("newest_run", f"earlier runs of {run.task} that are left out: {run.older}"),)
        if run.older
        else (),
        unit=unit,
        item_name="doc_hash",
        input_name="target_hash",
    )


def _checked(run: _Run, found: ScoreFile) -> ScoreFile:
    """The scores, turned where lower is better. Raises UserError if their mean is not lm-eval's own figure."""
    metric, name = found.header.metric, found.header.filter
    own = mapping(run.of_task("results")).get(f"{metric},{name}")
    mean = float(np.mean(found.scores.value))
    if isinstance(own, int | float) and math.isfinite(mean) and not math.isclose(mean, own, rel_tol=1e-6, abs_tol=1e-9):
        raise UserError(
            f"{found.path}: the mean of {metric} is {mean:.6g}, and {own:.6g} in lm-eval's results: the samples are "
            "incomplete, or the metric is no mean over documents."
        )
    if mapping(run.of_task("higher_is_better")).get(str(metric)) is not False:
        return found
    note = Caveat("turned", f"lower is better for {metric}: scores are shown with the opposite sign")
    header = replace(found.header, notes=(*found.header.notes, note), turned=True)
    return replace(found, header=header, scores=replace(found.scores, value=-found.scores.value))
