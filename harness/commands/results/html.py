"""`mipo-bench html`: writes a report as one HTML file, with the texts of items if they are asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mipo_bench.harness.commands.options import PATH, DataOption, IncludeOption, PathOption, StoreOption
from mipo_bench.harness.core.default_paths import DEFAULT_REPORT, DEFAULT_STORE


def html(
    report: Annotated[str, typer.Argument(help="report.json, the folder it is in, a run id or a git revision.")] = str(
        DEFAULT_REPORT
    ),
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.", **PATH)] = Path("report.html"),
    responses: Annotated[
        Literal["none", "changed", "failed", "all"],
        typer.Option(help="Items with prompts and responses: changed by a primary method, failed or cut, or all."),
    ] = "none",
    max_mib: Annotated[int, typer.Option(min=1, help="Write nothing if the file would be larger, in MiB.")] = 100,
    path: PathOption = None,
    store: StoreOption = DEFAULT_STORE,
    include: IncludeOption = None,
    data: DataOption = None,
) -> None:
    """Write a report as one HTML file that opens from disk and loads nothing.

    Without --responses it holds figures, tables and scores of items, and no text of a model, task or user.
    """
    from mipo_bench.harness.core.files import write_atomically
    from mipo_bench.harness.history.find_report import ReportSearch, find_report
    from mipo_bench.harness.history.item_texts import item_texts
    from mipo_bench.harness.plugins.task_data import given_folders
    from mipo_bench.reports.html.report import report_to_html

    search = ReportSearch(store, path, tuple(include or ()), given_folders(data or ()))
    found = find_report(report, search)
    texts = None if responses == "none" else item_texts(found, search, responses)
    text = report_to_html(found, texts)
    _check_size(text, max_mib)
    write_atomically(out, text)
    notes = texts.notes if texts else ()
    warning = " Look at the texts before you share the file." if texts else ""
    _say([*notes, f"wrote {out} ({len(text.encode()) / 2**20:.2f} MiB).{warning}"])


def _check_size(text: str, most: int) -> None:
    from mipo_bench.harness.errors import ConfigError

    size = len(text.encode()) / 2**20
    if size > most:
        raise ConfigError(
            f"the file would have {size:.1f} MiB, more than --max-mib {most}: nothing was written. Give a larger "
            "--max-mib, or fewer items with --responses changed, failed or none."
        )


def _say(lines: list[str]) -> None:
    from mipo_bench.harness.core.text import without_control_characters

    sys.stderr.writelines(f"mipo-bench: {without_control_characters(line)}\n" for line in lines)
