"""The page of `mipo-bench store ls`: the runs of a store, and the number and size of its entries."""

from __future__ import annotations

import json
import math
from typing import Any

from mipo_bench.harness.core.files import folder_size
from mipo_bench.harness.store.checkpoints import CHECKPOINTS, SCRATCH
from mipo_bench.harness.store.claims import process_list_text
from mipo_bench.harness.store.database import FILE
from mipo_bench.harness.store.made_models import made_models
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.reports.numbers import plural
from mipo_bench.reports.pages.page import Footnotes, Page, Section, Table
from mipo_bench.reports.records.report_file import RUN_ID_LENGTH

_TEXT = {
    "responses": "text || coalesce(option_logprobs, '')",
    "likelihoods": "logprob",
    "verdicts": "text",
    "memos": "value",
}
"""Table -> SQL expression for the content whose size is listed."""

_REPAIR = "`mipo-bench store verify` names what is damaged, and deletes it with --drop"


def store_page(store: Store) -> Page:
    """Make the page: the runs of a store, then its content."""
    runs = store.runs()
    notes = Footnotes()
    rows = tuple(_run_row(run, notes) for run in runs)
    columns = ("run", "date", "made at", "model", "tasks", "arms", "responses")
    content = Table("", ("content", "number", "size"), tuple(_content(store)))
    sections = [Section(f"{plural(len(runs), 'run')}, the oldest first", (Table("", columns, rows),))] if runs else []
    damaged = store.damaged_runs()
    head = (f"store {store.folder}", *([f"! {plural(damaged, 'damaged run')} left out: {_REPAIR}"] if damaged else []))
    others = store.claims.others()
    head += (f"at work on it: {process_list_text(others)}",) if others else ()
    title = "content" if runs else "no run yet"
    return Page("mipo-bench store", head, (*sections, Section(title, (content,))), tuple(notes.texts))


def size_text(size: int) -> str:
    """A number of bytes with a unit, such as `1.5 MB`."""
    if size < 1000:
        return f"{size} B"
    power = min(4, int(math.log10(size)) // 3)
    return f"{size / 1000**power:.1f} {('', 'k', 'M', 'G', 'T')[power]}B"


def _run_row(run: StoredRun, notes: Footnotes) -> tuple[str, ...]:
    name, keys = run.id[:RUN_ID_LENGTH], len({key for arm in run.keys for key in arm.values()})
    try:
        return (*_report_cells(name, run, json.loads(run.report)), str(keys))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        mark = notes.marks([f"its report cannot be read: {type(error).__name__}: {error}"])
        return (f"{name}{mark}", run.created[:16], "unreadable", "", "", "", str(keys))


def _report_cells(name: str, run: StoredRun, report: dict[str, Any]) -> tuple[str, ...]:
    made = report["provenance"]
    commit = f"{made['commit'][:7]}{'*' if made['dirty'] else ''}" if made["commit"] else "-"
    model = report["model"]["name"].rstrip("/").rsplit("/", maxsplit=1)[-1][:12]
    tasks = ", ".join(task["name"] for task in report["tasks"])
    return (name, run.created[:16].replace("T", " "), commit, model, tasks, str(len(report["arms"])))


def _content(store: Store) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for table, text in _TEXT.items():
        query = f"SELECT count(*), coalesce(sum(length(CAST({text} AS BLOB))), 0) FROM {table}"  # noqa: S608 - our own
        count, size = store.database.execute(query)[0]
        rows.append((table, f"{count:,}", size_text(size)))
    folders = [f for f in sorted((store.folder / CHECKPOINTS).iterdir()) if f.is_dir()]
    made = [f for f in folders if not f.name.startswith(SCRATCH)]
    rows.append((CHECKPOINTS, f"{len(made):,}", size_text(sum(map(folder_size, made)))))
    if len(folders) > len(made):
        unfinished = [f for f in folders if f.name.startswith(SCRATCH)]
        rows.append(("unfinished checkpoints", f"{len(unfinished):,}", size_text(sum(map(folder_size, unfinished)))))
    if models := made_models(store.folder):
        rows.append(("dequantised models", f"{len(models):,}", size_text(sum(model.size for model in models))))
    files = [f for f in store.folder.glob(f"{FILE}*") if ".damaged-" not in f.name]
    rows.append((f"{FILE} on disk", "", size_text(sum(f.stat().st_size for f in files))))
    aside = list(store.folder.glob(f"{FILE}*.damaged-*"))
    if aside:
        rows.append(("damaged files put aside", f"{len(aside):,}", size_text(sum(f.stat().st_size for f in aside))))
    return rows
