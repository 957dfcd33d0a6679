"""`mipo-bench store`: lists, verifies, cleans up, exports and merges run stores and their checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mipo_bench.harness.commands.options import PATH, StoreOption, user_path
from mipo_bench.harness.core.default_paths import DEFAULT_STORE

if TYPE_CHECKING:
    from mipo_bench.harness.store.run_store import Store

app = typer.Typer(
    name="store",
    help="List, verify, clean up, export and merge run stores.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def ls(folder: StoreOption = DEFAULT_STORE) -> None:
    """List the runs and the size of the store."""
    from mipo_bench.harness.commands.store_page import store_page
    from mipo_bench.reports.render.print_page import print_page

    with closing(_open(folder)) as store:
        print_page(store_page(store))


@app.command()
def verify(
    folder: StoreOption = DEFAULT_STORE,
    *,
    drop: Annotated[
        bool, typer.Option("--drop", help="Delete damaged entries; the next run computes them again.")
    ] = False,
) -> None:
    """Compare every row and checkpoint with its digest. Exit code 1 if damaged entries remain."""
    from mipo_bench.harness.store.database import DamagedDatabaseError
    from mipo_bench.harness.store.rescue import open_for_run
    from mipo_bench.harness.store.upkeep import verify

    try:
        store = open_for_run(folder) if drop and _exists(folder) else _open(folder)
        with closing(store):
            _say(store.damaged)
            found = verify.verify(store)
            if drop:
                verify.drop(store, found)
    except DamagedDatabaseError as error:
        _say([f"damaged: {error}"])
        raise typer.Exit(1) from error
    _say([f"damaged: {line}" for line in found.lines])
    _say([f"checked {_counted(found.counts)}: {_verdict(len(found.damaged), drop=drop)}"])
    raise typer.Exit(1 if found.damaged and not drop else 0)


@app.command()
def gc(
    folder: StoreOption = DEFAULT_STORE,
    *,
    keep: Annotated[int | None, typer.Option(min=0, help="Number of latest runs to keep (all).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the numbers that would be removed.")] = False,
) -> None:
    """Remove results that no kept run used, and those of interrupted runs."""
    from mipo_bench.harness.commands.store_page import size_text
    from mipo_bench.harness.store.upkeep.garbage import collect

    with closing(_open(folder)) as store:
        removed = collect(store, keep, dry_run=dry_run)
    done = "would remove" if dry_run else "removed"
    _say([f"{done} {_counted(removed.counts)} ({size_text(removed.folder_bytes)} of folders)"])
    if removed.unknown:
        _say(
            [
                f"{removed.unknown} of the kept runs were recorded by an older mipo-bench and do not say which results"
                " they used, so that no result is removed; --keep N drops older runs."
            ]
        )


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="FILE.jsonl or FILE.parquet.", parser=user_path)],
    folder: StoreOption = DEFAULT_STORE,
    *,
    run: Annotated[str, typer.Option(help="The beginning of a run's id (all runs).")] = "",
    task: Annotated[str | None, typer.Option(help="One task (all tasks).")] = None,
    arm: Annotated[str | None, typer.Option(help="One arm by its name in the report (all arms).")] = None,
) -> None:
    """Write stored responses with their run, task, arm, item and score to a file.

    `run --model` reads the file of one run as RESPONSES.jsonl; `compare` reads the file of one arm of a task.
    """
    from mipo_bench.harness.errors import ReportError
    from mipo_bench.harness.store.upkeep import export

    with closing(_open(folder)) as store:
        runs = store.runs(run)
        if not runs:
            known = ", ".join(r.id[:12] for r in store.runs()) or "none"
            raise ReportError(f"the store {folder} has no run {run!r}. Runs: {known}.")
        done = export.export(store, runs, file, export.ArmChoice(task, arm))
    _say([f"wrote {done.written:,} responses to {file}"])
    if done.missing:
        _say([f"{done.missing:,} responses are no longer in the store; the same `mipo-bench run` computes them again"])
        raise typer.Exit(1)


@app.command()
def checkpoint(
    run: Annotated[str, typer.Argument(help="The beginning of a run's id; `store ls` lists them.")],
    arm: Annotated[str, typer.Argument(metavar="TASK/ARM/SEED", help="Such as persona/mipo-random/0.")],
    target: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.", parser=user_path)],
    folder: StoreOption = DEFAULT_STORE,
    *,
    licence: Annotated[
        str | None, typer.Option("--license", help="Licence for the card, such as apache-2.0 (none is stated).")
    ] = None,
) -> None:
    """Copy a trained checkpoint to a folder: weights, lineage, and a model card with its results.

    The folder must not exist. `hf upload OWNER/NAME DIR` sends it to the Hugging Face hub.
    """
    from mipo_bench.harness.exchange.checkpoint_folder import TrainedArm, export_checkpoint

    with closing(_open(folder)) as store:
        export_checkpoint(store, run, TrainedArm.parse(arm), target, licence)
    _say([f"wrote {target}: weights, lineage.json, and the model card README.md, which is yours to complete"])


@app.command()
def merge(
    sources: Annotated[
        list[Path], typer.Argument(metavar="STORE...", help="The stores to join, such as stores/*.", parser=user_path)
    ],
    into: Annotated[
        Path, typer.Option("--into", "--store", help="The store that gets their entries; made if missing.", **PATH)
    ] = DEFAULT_STORE,
) -> None:
    """Copy everything in other stores that this one lacks: responses, likelihoods, verdicts, checkpoints, runs.

    Digests are checked. Two different entries with the same key are refused, and then nothing is merged.
    """
    from mipo_bench.harness.store.upkeep.merge import merge
    from mipo_bench.reports.numbers import plural

    done = merge(sources, into)
    _say([f"merged {plural(len(sources), 'store')} into {into}: added {_counted(done.added)}"])
    if done.known:
        _say([f"{done.known:,} of their entries were there already"])


def _open(folder: Path) -> Store:
    """Open an existing store. Raises StorageError if there is none; none is created."""
    from mipo_bench.harness.errors import StorageError
    from mipo_bench.harness.store.run_store import Store

    if not _exists(folder):
        raise StorageError(f"there is no run store {folder}. `mipo-bench run` makes one; --store DIR names another.")
    return Store(folder)


def _exists(folder: Path) -> bool:
    from mipo_bench.harness.store.database import FILE

    return (folder / FILE).is_file()


def _counted(counts: Mapping[str, int]) -> str:
    from mipo_bench.reports.numbers import plural

    return ", ".join(plural(count, name.removesuffix("s")) for name, count in counts.items())


def _verdict(damaged: int, *, drop: bool) -> str:
    if not damaged:
        return "nothing is damaged"
    return (
        f"{damaged:,} damaged, dropped" if drop else f"{damaged:,} damaged; the next run computes them again if needed"
    )


def _say(lines: list[str]) -> None:
    from mipo_bench.harness.core.text import without_control_characters

    for line in lines:
        sys.stdout.write(without_control_characters(line) + "\n")
