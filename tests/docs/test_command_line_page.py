"""docs/command-line.md is generated from the Typer app, and must equal it.

After a change of a command, run this file with `MIPO_BENCH_UPDATE_GOLDEN=1` to rewrite the page.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from golden_files import cell, check_page
from paths import ROOT

from mipo_bench.harness.cli import program
from mipo_bench.harness.commands.journeys import JOURNEYS
from mipo_bench.harness.commands.options import settings

PAGE = ROOT / "docs" / "command-line.md"
HEAD = """# Command line

Every command prints its options with `--help`. `mipo-bench --version` prints the version, and
`mipo-bench --install-completion` lets bash, zsh or fish complete commands, options and their values.

An option of the kind "several" can be given again: `--task gsm8k --task svamp`. A report is named by its file, its
folder, the id of a run in the store, or a git revision such as `HEAD~1`.

| exit code | meaning |
|---|---|
| 0 | fine |
| 1 | a part of the run failed, and the report names it; a gate found a regression; a check found a problem |
| 2 | wrong usage or input: one message says how to go on |
| 3, 4 | of `diff --gate`: a loss is not ruled out; the reports are not comparable |
| 70 | a bug of mipo-bench itself |
| 130 | stopped by Ctrl-C |

This page is generated from the commands by `tests/docs/test_command_line_page.py`.

## Options of a run

`run`, `config`, `doctor`, `export-prompts` and `check-judge` take these options. Every other setting is given with
`--set`, or in the file of `--config` ([configuration](configuration.md)).

"""
KINDS = {"str": "text", "Path": "path", "PATH": "path", "int": "integer", "float": "number"}
LIMITS = re.compile(r"\s*\[([^\[]*(?:default: |required|<=?x|x[<>]=?)[^\[]*)\]$")
"""The end of a meaning in --help: the default, the bounds, and whether it must be given."""
OF_A_RUN = set(inspect.signature(settings).parameters)


def kind(parameter: Any, shown: str) -> str:
    """The kind of a value in words, from the name that --help shows: `<int range>`, `<list[str]>`, `PATH`, `<a|b>`."""
    found = re.search(r" (?:<(.+)>|([A-Z]+))$", shown)
    name = (found[1] or found[2]) if found else ""
    several = name.startswith("list[") or getattr(parameter, "multiple", parameter.nargs == -1)
    name = re.sub(r"^list\[(.*)\]$|^(\w+) range$", r"\1\2", name)
    word = KINDS.get(name, f"`{name}`".replace("|", "`, `") if name else "")
    return f"{word}, several" if several and word else word


def rows(parameters: list[Any], context: Any) -> str:
    """A table of arguments and options."""
    lines = ["| option | value | default | meaning |", "|---|---|---|---|"]
    for parameter in parameters:
        shown, meaning = parameter.get_help_record(context)
        text, _, limits = LIMITS.sub("\0\\1", meaning).partition("\0")
        default = re.search(r"default: ([^;]*)", limits)
        value = f"`{default[1]}`" if default else "required" if parameter.required else ""
        name = shown.partition(" <")[0] if parameter.param_type_name == "argument" else ", ".join(parameter.opts)
        cells = (f"`{cell(name)}`", kind(parameter, shown), value, cell(text))
        lines.append(f"| {' | '.join(cells)} |")
    return re.sub(r"\|  (?=\|)", "| ", "\n".join(lines)) + "\n"


def shown(parameters: list[Any]) -> list[Any]:
    """Parameters without --help and hidden ones."""
    return [p for p in parameters if p.name != "help" and not p.hidden]


def command(name: str, found: Any) -> Iterator[str]:
    """The section of one command, and of its sub-commands."""
    context = found.make_context(name, [], resilient_parsing=True)
    inner = getattr(found, "commands", None)
    yield f"### `{name}`\n"
    yield re.sub(r"^Usage: *", "", found.get_usage(context)).join(("```\n", "\n```\n"))
    yield inspect.cleandoc(found.help or "") + "\n"
    parameters = shown(found.get_params(context))
    of_a_run = {p.name for p in parameters} >= OF_A_RUN
    own = [p for p in parameters if not of_a_run or p.name not in OF_A_RUN]
    if of_a_run:
        yield f"It takes the [options of a run](#options-of-a-run){', and' if own else '.'}\n"
    if own:
        yield rows(own, context)
    for part, sub in (inner or {}).items():
        yield from command(f"{name} {part}", sub)


def page() -> str:
    """The whole page."""
    found: dict[str, Any] = typer.main.get_command(program()).commands  # type: ignore[attr-defined]
    context = found["config"].make_context("mipo-bench config", [], resilient_parsing=True)
    parts = [HEAD + rows(shown(found["config"].get_params(context)), context)]
    for heading, names in JOURNEYS.items():
        parts.append(f"## {heading}\n")
        parts += [text for name in names if name in found for text in command(f"mipo-bench {name}", found[name])]
    return "\n".join(parts)


def test_the_page_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    check_page(PAGE, page())


def test_every_option_says_what_it_does() -> None:
    silent = [line for line in page().splitlines() if line.startswith("| `") and line.endswith("| |")]
    assert silent == []
