"""`mipo-bench read-answer`: what a task reads from a text, by which rule, and what was left out before."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mipo_bench.harness.commands.options import DataOption, IncludeOption

if TYPE_CHECKING:
    from mipo_bench.harness.config.schema import RunConfig
    from mipo_bench.harness.evaluation.answer_reader import AnswerReader

STDIN = "-"


def read_answer(
    file: Annotated[
        str, typer.Argument(metavar="FILE|-", help="A text, or JSONL with a response in each row; - reads stdin.")
    ],
    *,
    task: Annotated[str, typer.Option(help="The task whose answer is read, such as gsm8k.")],
    option: Annotated[
        list[str] | None, typer.Option("--option", "--options", help="An option to choose from; give it for each.")
    ] = None,
    item: Annotated[str | None, typer.Option(help="The item that the text answers: its options and target.")] = None,
    include: IncludeOption = None,
    data: DataOption = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with settings, for thought_tags.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value, for thought_tags.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the answer that a task reads from a text, by which rule, and what it left out.

    Rows are {"response", "options"?, "target"?, "item_id"?, "id"?}. The rules are
    in docs/answers.md. No data set is needed, unless an item is named or the
    task is lm-eval's.

    Exit codes: 0 fine, also where no answer was found; 2 wrong usage or input.
    """
    from mipo_bench.harness.commands.reading.answers_page import answers_page, one_answer, to_json
    from mipo_bench.harness.commands.reading.given_texts import Defaults, given_texts
    from mipo_bench.harness.config.loading import load_config
    from mipo_bench.reports.render.print_page import print_page

    options = {"tasks": [task], "include": include or None, "data": data or None}
    reader = _reader(load_config(config, set_ or [], options))
    defaults = Defaults(tuple(option or ()), item, reader.needs_item)
    given = given_texts(_content(file), "the input" if file == STDIN else file, defaults)
    answers = [reader.read(text) for text in given.texts]
    if as_json:
        sys.stdout.write(json.dumps(to_json(reader.task.name, answers), ensure_ascii=False, indent=1) + "\n")
    elif given.rows:
        print_page(answers_page(reader.task.name, answers))
    else:
        sys.stdout.writelines(f"{line}\n" for line in one_answer(answers[0]))


def _content(file: str) -> bytes:
    """The bytes of a file or of standard input. Raises ConfigError."""
    from mipo_bench.harness.errors import ConfigError

    if file == STDIN:
        if sys.stdin is None:  # it was closed before the start
            raise ConfigError("there is no standard input to read. Give a file with one text, or a JSONL file.")
        return sys.stdin.buffer.read()
    try:
        return Path(file).expanduser().read_bytes()
    except OSError as error:
        reason = "it is a folder" if Path(file).expanduser().is_dir() else error.strerror
        raise ConfigError(f"cannot read {file}: {reason}. Give a file with one text, a JSONL file, or -.") from error


def _reader(config: RunConfig) -> AnswerReader:
    """The reader of the task. Raises ConfigError or PluginError for a task that is unknown or cannot be loaded."""
    from mipo_bench.harness.errors import ConfigError
    from mipo_bench.harness.evaluation.answer_reader import AnswerReader
    from mipo_bench.harness.plugins.registry import load_plugins
    from mipo_bench.harness.plugins.task_data import data_problems, on_data

    plugins = load_plugins([include.path for include in config.include])
    task = plugins.task(config.tasks[0])
    if problems := data_problems(config.data, [task]):
        raise ConfigError("\n".join(problems))
    return AnswerReader(on_data(task, config.data), config.tags_around_thoughts)
