"""The command line: arguments in, exit code out.

Exit codes: 0 fine, 1 a part of the run failed (the report names it), 2 bad usage or input, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mipo_bench.harness.compare_cli import compare
from mipo_bench.harness.diff_cli import diff
from mipo_bench.harness.errors import UserError
from mipo_bench.harness.history_cli import history
from mipo_bench.harness.show_cli import show
from mipo_bench.harness.store_cli import app as store_app

app = typer.Typer(
    name="mipo-bench",
    help="Does MIPO training beat the best way of prompting, and is the difference real?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(compare)
app.command()(diff)
app.command()(history)
app.command()(show)
app.add_typer(store_app)


def _names(value: str | None) -> list[str] | None:
    """A comma-separated option; None where it was not given, an empty list for `none`."""
    if value is None:
        return None
    return [] if value.strip() == "none" else [name.strip() for name in value.split(",") if name.strip()]


@app.command()
def run(
    suite: Annotated[str | None, typer.Option(help="personalized, math, choice or all (the default).")] = None,
    task: Annotated[list[str] | None, typer.Option(help="A task by name; give it again for more.")] = None,
    model: Annotated[str | None, typer.Option(help="embedded (the default), a folder, or a Hugging Face id.")] = None,
    baselines: Annotated[str | None, typer.Option(help="Comma-separated; all that apply by default.")] = None,
    recipes: Annotated[
        str | None, typer.Option(help="Comma-separated; all that apply by default; `none` trains nothing.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Training seeds (3).")] = None,
    limit: Annotated[int | None, typer.Option(help="Evaluation items of a task; trains on twice as many.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with any setting.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value, such as train.lr=1e-5.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of report.json and report.md (mipo-bench-report).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
) -> None:
    """Compare prompting with MIPO checkpoints that are trained on the spot; print and write the report."""
    from mipo_bench.harness import run_cli
    from mipo_bench.harness.config import load_config

    options: dict[str, Any] = {
        "suite": suite,
        "tasks": task or None,
        "model": model,
        "baselines": _names(baselines),
        "recipes": _names(recipes),
        "seeds": seeds,
        "limit": limit,
        "out": out,
    }
    raise typer.Exit(run_cli.run(load_config(config, set_ or [], options), dry_run=dry_run))


@app.command("list")
def list_() -> None:
    """List the installed tasks, baselines and recipes."""
    from mipo_bench.harness.listing import print_plugins

    print_plugins()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit. What the user can repair is one message without a traceback."""
    try:
        app(arguments)
    except UserError as error:
        _complain(str(error))
        sys.exit(2)


def _complain(message: str) -> None:
    for line in message.splitlines():
        sys.stderr.write(f"mipo-bench: {line}\n")


if __name__ == "__main__":
    main()
