"""`mipo-bench html`: writes a report as one HTML file, with the texts of items if they are asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mipo_bench.harness.commands.options import PATH, DataOption, IncludeOption, PathOption, StoreOption
from mipo_bench.harness.core.default_paths import DEFAULT_REPORT, DEFAULT_STORE

if TYPE_CHECKING:
    from mipo_bench.harness.history.find_report import ReportSearch
    from mipo_bench.reports.html.items import Choice
    from mipo_bench.reports.html.report import Texts
    from mipo_bench.reports.records.report import Report


def html(
    report: Annotated[str, typer.Argument(help="report.json, the folder it is in, a run id or a git revision.")] = str(
        DEFAULT_REPORT
    ),
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file to write; report.html if left out.", **PATH)
    ] = None,
    split: Annotated[
        Path | None, typer.Option(help="A new folder for the page and its texts in files, in place of --out.", **PATH)
    ] = None,
    responses: Annotated[
        Literal["none", "changed", "failed", "all"],
        typer.Option(help="Items with prompts and responses: changed by a primary method, failed or cut, or all."),
    ] = "none",
    items: Annotated[
        int | None,
        typer.Option(min=1, help="Texts of at most so many items of a task, half of them with a changed score."),
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="Responses of these arms alone: TASK/METHOD, or a pattern such as 'persona/mipo-*'."),
    ] = None,
    max_mib: Annotated[int, typer.Option(min=1, help="Write nothing if the report would be larger, in MiB.")] = 100,
    path: PathOption = None,
    store: StoreOption = DEFAULT_STORE,
    include: IncludeOption = None,
    data: DataOption = None,
) -> None:
    """Write a report as one HTML file that opens from disk and loads nothing.

    Without --responses it holds figures, tables and scores of items, and no text of a model, task or user.
    """
    from mipo_bench.harness.history.find_report import ReportSearch, find_report
    from mipo_bench.harness.plugins.task_data import given_folders
    from mipo_bench.reports.html.items import Choice
    from mipo_bench.reports.html.report import Texts, report_to_html

    _check_options(out, split, responses, with_texts=items is not None or bool(arm))
    search = ReportSearch(store, path, tuple(include or ()), given_folders(data or ()))
    found = find_report(report, search)
    texts = Texts()
    if responses != "none":
        texts = _texts(found, search, Choice(responses, items, tuple(arm or ())), max_mib)
    page = report_to_html(found, texts, split=split is not None)
    files = [(block.file, block.program()) for block in texts.blocks if block.apart] if split else None
    size = sum(len(text.encode()) for text in (page, *(text for _, text in files or ()))) / 2**20
    _check_size(size, max_mib)
    _write(page, files, split or out or Path("report.html"))
    warning = " Look at the texts before you share it." if responses != "none" else ""
    _say([*texts.notes, f"wrote {split or out or 'report.html'} ({size:.2f} MiB).{warning}"])


def _check_options(out: Path | None, split: Path | None, responses: str, *, with_texts: bool) -> None:
    from mipo_bench.harness.errors import ConfigError

    if responses == "none" and (with_texts or split):
        raise ConfigError(
            "--items, --arm and --split are about texts, and --responses none has none. Add --responses all, or "
            "changed, or failed."
        )
    if split and out:
        raise ConfigError(f"--out {out} is one file and --split {split} a folder: give one of them.")


def _texts(report: Report, search: ReportSearch, choice: Choice, most: int) -> Texts:
    """The texts, after their size was told. Raises ConfigError if they would be too large."""
    from mipo_bench.harness.history.item_texts import ItemTexts

    source = ItemTexts(report, search, choice)
    size = source.mib()
    _check_size(size, most)
    _say([f"about {size:.2f} MiB of prompts and responses"])
    return source.read()


def _check_size(mib: float, most: int) -> None:
    from mipo_bench.harness.errors import ConfigError

    if mib > most:
        raise ConfigError(
            f"the report would have about {mib:.1f} MiB, more than --max-mib {most}: nothing was written. Give a "
            "larger --max-mib (above 200, with --split DIR), or fewer texts with --items N, --arm PATTERN or "
            "--responses changed, failed or none."
        )


def _write(page: str, files: Sequence[tuple[str, str]] | None, place: Path) -> None:
    """One file, or a folder that is complete when it appears. Raises StorageError."""
    from mipo_bench.harness.core.files import new_folder, write_atomically

    if files is None:
        write_atomically(place, page)
        return
    with new_folder(place) as folder:
        (folder / "texts").mkdir()
        (folder / "report.html").write_text(page, encoding="utf-8")
        for name, text in files:
            (folder / name).write_text(text, encoding="utf-8")


def _say(lines: list[str]) -> None:
    from mipo_bench.harness.core.text import without_control_characters

    sys.stderr.writelines(f"mipo-bench: {without_control_characters(line)}\n" for line in lines)
