"""The command `mipo-bench`: parses the arguments, runs a subcommand and exits.

Exit codes: 0 fine, 1 a part of the run failed (the report names it), 2 bad usage or input, or refused by the operating
system, 70 a bug of mipo-bench itself, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mipo_bench.harness.commands.journeys import JourneyGroup, print_version
from mipo_bench.harness.commands.options import PATH, IncludeOption, takes_given_settings, takes_settings
from mipo_bench.harness.errors import UserError
from mipo_bench.harness.run.interrupt import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from mipo_bench.harness.config.given import GivenSettings
    from mipo_bench.harness.config.schema import RunConfig

BUG = 70
"""Exit code for a bug of mipo-bench itself (sysexits' EX_SOFTWARE); no gate takes it for a regression."""


def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options of the program itself."""


def run(
    config: RunConfig,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    compute_only: Annotated[
        bool, typer.Option("--compute-only", help="Fill the store, and make no report: a job whose store is merged.")
    ] = False,
    gpu: Annotated[
        str | None,
        typer.Option(help="For the plan: estimate the hours on this kind of GPU, such as h100, a100, rtx4090."),
    ] = None,
    gpus: Annotated[int, typer.Option(min=1, help="Number of GPUs of this kind.")] = 1,
    profile: Annotated[bool, typer.Option("--profile", help="Print at the end where the time went.")] = False,
) -> int:
    """Compare prompting with MIPO checkpoints that are trained on the spot; print and write the report."""
    from mipo_bench.harness.commands import run

    asked = run.Asked(dry_run, compute_only, run.asked_cluster(gpu, gpus, dry_run))
    return run.run(config, asked, profile=profile)


def export_prompts(
    config: RunConfig,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The file to write (JSON Lines), or - for the standard output.")
    ],
) -> int:
    """Write the prompts of a run for another program to answer: item, arm and chat, one JSON object per line.

    A line with the answer added as "response" (and, where known, "finish") is a line of RESPONSES.jsonl, which
    `mipo-bench run --model RESPONSES.jsonl` scores. A model that is named renders each chat as "prompt" too.
    """
    from mipo_bench.harness.commands.export_prompts import run_export

    return run_export(config, file)


def config(given: GivenSettings) -> int:
    """Show every setting of a run with these options: its value, and where that comes from."""
    from mipo_bench.harness.commands.settings import show_config

    return show_config(given)


def doctor(config: RunConfig) -> int:
    """Check whether a run with these options can start: packages, device, model, data, disk, git; exit 1 if not."""
    from mipo_bench.harness.commands.doctor import run_doctor

    return run_doctor(config)


def check_judge(
    config: RunConfig,
    labels: Annotated[
        Path | None, typer.Option(help='JSONL with "prompt", "context", "a", "b" and "label": a, b or tie.', **PATH)
    ] = None,
    write: Annotated[Path, typer.Option(help="File to write, for judge.validation_file.", **PATH)] = Path(
        "judge-validation.json"
    ),
) -> int:
    """Compare the judge (--judge) with people's choices: those of a judged task (--task) or of a file (--labels).

    Prints kappa and accuracy with intervals, position consistency and retest agreement, and writes a file for
    `run --set judge.validation_file=FILE`. Exit codes: 0 fine; 1 not shown to be better than chance; 2 wrong usage.
    """
    from mipo_bench.harness.commands.check_judge import run_check

    return run_check(config, labels, write)


def list_(
    *,
    include: IncludeOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Licence, data, version and origin of each.")] = False,
) -> None:
    """List the installed and included tasks, baselines and recipes."""
    from mipo_bench.harness.commands.list import print_plugins
    from mipo_bench.harness.plugins.registry import load_plugins

    print_plugins(load_plugins(include or ()), verbose=verbose)


def _of(module: str, name: str) -> Callable[[], Any]:
    """The loader of a command, or of a group of commands, of a module of `commands`."""
    return lambda: getattr(import_module(f"mipo_bench.harness.commands.{module}"), name)


COMMANDS: Mapping[str, Callable[[], Any]] = {
    "check-task": _of("plugins.task", "check_task"),
    "new-task": _of("plugins.task", "new_task"),
    "check-baseline": _of("plugins.baseline", "check_baseline"),
    "new-baseline": _of("plugins.baseline", "new_baseline"),
    "check-recipe": _of("plugins.recipe", "check_recipe"),
    "new-recipe": _of("plugins.recipe", "new_recipe"),
    "compare": _of("results.compare", "compare"),
    "diff": _of("results.diff", "diff"),
    "history": _of("results.history", "history"),
    "html": _of("results.html", "html"),
    "read-answer": _of("reading.read_answer", "read_answer"),
    "power": _of("results.power", "power"),
    "show": _of("results.show", "show"),
    "store": _of("store", "app"),
    "new-config": _of("settings", "new_config"),
    "run": lambda: takes_settings(run),
    "export-prompts": lambda: takes_settings(export_prompts),
    "config": lambda: takes_given_settings(config),
    "doctor": lambda: takes_settings(doctor),
    "check-judge": lambda: takes_settings(check_judge),
    "list": lambda: list_,
}
"""Each command with its loader: the modules and options of the other commands cost more than many a command."""


def program(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The command line with these commands."""
    app = typer.Typer(
        name="mipo-bench",
        help="Does MIPO training beat the best way of prompting, and is the difference real?",
        no_args_is_help=True,
        cls=JourneyGroup,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(options)
    for name in names:
        found = COMMANDS[name]()
        if isinstance(found, typer.Typer):
            app.add_typer(found)
        else:
            app.command(name)(found)
    return app


def _named(arguments: list[str]) -> Iterable[str]:
    """The command that the arguments name, or all of them, for help and for the message about an unknown one."""
    first = next((argument for argument in arguments if not argument.startswith("-")), "")
    return [first] if first in COMMANDS else COMMANDS


_REFUSALS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE),
)
"""Errors of the operating system about paths, disks and limits that cannot be checked beforehand."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit. An error that the user can repair is one message without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # for a terminal that lacks a character of the table
    given = sys.argv[1:] if arguments is None else arguments
    try:
        program(_named(given))(given, prog_name="mipo-bench")
    except UserError as error:
        _print_error(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - a bug; its traceback may hold a key of the environment
        if isinstance(error, OSError) and error.errno in _REFUSALS:
            _print_error(f"the operating system refuses: {error}.")
            sys.exit(2)
        import traceback

        _print_error(traceback.format_exc())
        _print_error("this is a bug of mipo-bench: please report it with the lines above.")
        sys.exit(BUG)


def _print_error(message: str) -> None:
    """Print to stderr, without control characters and keys, which a quoted name or value may hold."""
    from mipo_bench.harness.core.redaction import redact
    from mipo_bench.harness.core.text import without_control_characters

    for line in message.splitlines():
        sys.stderr.write(f"mipo-bench: {without_control_characters(redact(line))}\n")


if __name__ == "__main__":
    main()
