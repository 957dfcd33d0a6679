"""The command-line options that describe a run, shared by every command that needs one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mipo_bench.harness.core.default_paths import DEFAULT_REPORT
from mipo_bench.harness.core.files import expanded

if TYPE_CHECKING:
    from mipo_bench.harness.config.given import GivenSettings

_HIDDEN = {"RunConfig": object, "GivenSettings": object}
"""typer evaluates annotations. Stand-ins for these records keep `--help` from importing pydantic."""


def user_path(value: str | Path) -> Path:
    """A path with `~` expanded. It is not empty: `Path("")`, of an unset variable, would be the working directory."""
    if not str(value).strip():
        raise typer.BadParameter("write the path of a file or folder")
    return expanded(value)


def installed(kind: str) -> Callable[[str], list[str]]:
    """Shell completion by the names of installed plugins, also behind a comma. No plugin is loaded.

    `kind` is tasks, baselines or recipes.
    """

    def complete(incomplete: str) -> list[str]:
        from importlib.metadata import entry_points

        before, comma, _ = incomplete.rpartition(",")
        found = sorted({f"{before}{comma}{entry.name}" for entry in entry_points(group=f"mipo_bench.{kind}")})
        return [name for name in found if name.startswith(incomplete)]

    return complete


PATH: dict[str, Any] = {"parser": user_path, "metavar": "PATH"}
"""The keywords of an option or argument that is a path."""
StoreOption = Annotated[Path, typer.Option("--store", help="The run store: responses, checkpoints and runs.", **PATH)]
PathOption = Annotated[
    Path | None,
    typer.Option("--path", help="The report (file or folder) in the git repository, where it has several.", **PATH),
]
IncludeOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--include", help="File or folder with plugins, run with your rights; give it again for more.", **PATH
    ),
]
DataOption = Annotated[
    list[str] | None,
    typer.Option("--data", help="Folder with data sets, or a Hugging Face cache; TASK=FOLDER for one task."),
]
TasksOption = Annotated[
    list[str] | None, typer.Option(help="A task by name; give it again for more.", autocompletion=installed("tasks"))
]
RecipesOption = Annotated[
    str | None,
    typer.Option(
        help="Comma-separated; `all`: those off by default too; `none` trains nothing.",
        autocompletion=installed("recipes"),
    ),
]
Format = Literal["terminal", "markdown", "latex", "csv", "json"]
FORMAT = typer.Option("--format", help="Output format.")
"""The option for commands that support only some formats."""
FormatOption = Annotated[Format, FORMAT]


def settings(
    suite: Annotated[str | None, typer.Option(help="personalized, math, choice or all (the default).")] = None,
    task: TasksOption = None,
    include: IncludeOption = None,
    data: DataOption = None,
    skip_missing: Annotated[bool, typer.Option("--skip-missing", help="Go on without tasks that lack data.")] = False,
    model: Annotated[
        str | None,
        typer.Option(help="embedded (the default), a folder, a FILE.gguf, a Hugging Face id, or RESPONSES.jsonl."),
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="transformers (the default), openai (a chat server), or an engine of lm-eval.")
    ] = None,
    baselines: Annotated[
        str | None,
        typer.Option(help="Comma-separated; `all`: those off by default too.", autocompletion=installed("baselines")),
    ] = None,
    recipes: RecipesOption = None,
    seeds: Annotated[int | None, typer.Option(help="Training seeds (3).")] = None,
    limit: Annotated[int | None, typer.Option(help="Evaluation items of a task; trains on twice as many.")] = None,
    judge: Annotated[
        list[str] | None,
        typer.Option(help="Scores judged tasks: rules, file:PATH, nli:MODEL, openai:MODEL@URL, a chat model; repeat."),
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Answer and train on a Ray cluster: ray, ray:HOST:PORT or ray:auto.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="A named set of settings: paper.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with any setting.", **PATH)] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value, such as train.lr=1e-5.")] = None,
    out: Annotated[
        Path | None, typer.Option(help=f"Folder of report.json and report.md ({DEFAULT_REPORT}).", **PATH)
    ] = None,
) -> GivenSettings:
    """The options that describe a run, as they were given."""
    from mipo_bench.harness.config.given import GivenSettings

    options: dict[str, Any] = {
        "preset": preset,
        "suite": suite,
        "tasks": task or None,
        "include": include or None,
        "data": data or None,
        "skip_missing": skip_missing or None,
        "model": model,
        "backend": backend,
        "baselines": baselines,
        "recipes": recipes,
        "seeds": seeds,
        "limit": limit,
        "out": out,
    }
    return GivenSettings(config, tuple(set_ or ()), options, tuple(judge or ()), cluster)


def takes_settings(action: Callable[..., int]) -> Callable[..., None]:
    """Make a command with the options of `settings`, followed by the keyword options of `action(config, ...)`."""
    return _with_settings(action, lambda given: given.load())


def takes_given_settings(action: Callable[..., int]) -> Callable[..., None]:
    """Make a command as `takes_settings` does, whose `action(given, ...)` takes the settings as they were given."""
    return _with_settings(action, lambda given: given)


def _with_settings(action: Callable[..., int], read: Callable[[GivenSettings], object]) -> Callable[..., None]:
    def command(**options: Any) -> None:
        own = {name: options.pop(name) for name in names}
        raise typer.Exit(action(read(settings(**options)), **own))

    signature = inspect.signature(settings, eval_str=True, locals=_HIDDEN)
    _, *more = inspect.signature(action, eval_str=True, locals=_HIDDEN).parameters.values()
    names = [parameter.name for parameter in more]
    command.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[p.replace(kind=p.KEYWORD_ONLY) for p in (*signature.parameters.values(), *more)],
        return_annotation=None,
    )
    command.__annotations__ = {p.name: p.annotation for p in command.__signature__.parameters.values()}  # type: ignore[attr-defined]
    command.__name__, command.__doc__ = action.__name__, action.__doc__
    return command
