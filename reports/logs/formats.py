"""Finds the format of a file by its content, and reads it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from mipo_bench.harness.errors import UserError
from mipo_bench.reports.logs import alpaca_eval, helm, inspect_ai, lighteval, lm_eval, promptfoo, table
from mipo_bench.reports.logs.record import Choice, ScoreFile
from mipo_bench.reports.logs.rows import listed
from mipo_bench.reports.logs.source import Source, inside, open_source

_OWN_ROWS = 'bring the scores as rows {"item_id": ..., "score": ...}'


@dataclass(frozen=True, slots=True)
class Format:
    """A format of score files: a module, and the files that it is for.

    The module has `NAME`, `read`, `metrics`, and `CHOICES`: the options that it takes.
    """

    module: ModuleType
    fits: Callable[[Source], bool]

    @property
    def name(self) -> str:
        """The program that writes it."""
        return str(self.module.NAME)

    def read(self, source: Source, choice: Choice) -> list[ScoreFile]:
        """The arms of a file. Raises UserError, with file and place, for whatever the format refuses."""
        self._refuse_other_choices(source, choice)
        with _readable(source.path):
            files: list[ScoreFile] = self.module.read(source, choice)
        return files

    def _refuse_other_choices(self, source: Source, choice: Choice) -> None:
        """Raise UserError for an option that says nothing about this format, and would be left out in silence."""
        given = {
            "metric": choice.metric,
            "filter": choice.filter,
            "task": choice.task,
            "user": choice.columns.get("user"),
        }
        for option, value in given.items():
            if value is not None and option not in self.module.CHOICES:
                hint = " Name its columns with --item and --score." if self is _TABLE else ""
                raise UserError(f"{source.path}: --{option} {value}: a file of the format {self.name} has none.{hint}")

    def metrics(self, source: Source, choice: Choice) -> list[Choice]:
        """Every choice of scores that a file offers. Raises UserError for a file that cannot be read."""
        with _readable(source.path):
            choices: list[Choice] = self.module.metrics(source, choice)
        return choices


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise UserError for a file that vanishes, or whose compressed data end, while it is read."""
    try:
        yield
    except (EOFError, zlib.error) as error:
        raise UserError(f"{path}: the gzip data is damaged or incomplete ({error}).") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _is_folder(module: ModuleType) -> Callable[[Source], bool]:
    return lambda source: source.kind == "folder" and module.is_folder(source.path)


FORMATS = (
    Format(table, lambda s: s.kind == "csv" or "item_id" in s.first),
    Format(inspect_ai, lambda s: s.kind == "zip" and inspect_ai.is_archive(s.path)),
    Format(inspect_ai, lambda s: inspect_ai.is_log(s.first)),
    Format(lighteval, lambda s: s.kind == "parquet" and set(s.first) >= lighteval.COLUMNS),
    Format(lighteval, _is_folder(lighteval)),
    Format(lm_eval, lambda s: s.kind == "rows" and ("doc_hash" in s.first or {"doc_id", "doc"} <= set(s.first))),
    Format(lm_eval, _is_folder(lm_eval)),
    Format(alpaca_eval, lambda s: s.kind == "rows" and {"instruction", "preference"} <= set(s.first)),
    Format(alpaca_eval, _is_folder(alpaca_eval)),
    Format(promptfoo, lambda s: promptfoo.is_document(s.first) or promptfoo.is_row(s.first)),
    Format(helm, lambda s: s.kind == "rows" and helm.is_row(s.first)),
    Format(helm, _is_folder(helm)),
)
_TABLE = FORMATS[0]
_UNREAD = {
    ("score", "htmls", "convos"): "simple-evals, which has no score for each item but inside HTML pages",
    ("testCases",): "DeepEval",
    ("testRunData",): "DeepEval",
    ("accuracy", "details"): "OpenCompass",
    ("spec",): "OpenAI evals",
    ("results", "config_general"): "lighteval's results, which have no scores of items: name the folder of details",
    ("results", "configs"): "lm-eval's results, which have no scores of items: name the folder, with the samples",
}


def read_files(path: Path, choice: Choice) -> list[ScoreFile]:
    """The arms of a file or folder; most formats hold one.

    Raises UserError, with file and place, for a file that cannot be read, a format that is not known, and whatever the
    format refuses.
    """
    source = open_source(path)
    return find_format(source, choice).read(source, choice)


def find_format(source: Source, choice: Choice) -> Format:
    """The format of a file. Columns that the choice names make a table of every file that has columns."""
    by_column = [table.OPTIONS[role] for role in choice.columns if role != "user"]
    if by_column and source.kind not in ("folder", "zip", "json"):
        return _TABLE
    found = next((entry for entry in FORMATS if entry.fits(source)), None)
    if found is None:
        return _other(source)
    if by_column:
        raise UserError(f"{source.path}: {by_column[0]} names a column, and {found.name}'s logs have none.")
    return found


def _other(source: Source) -> Format:
    """A table whose columns are to be named. Raises UserError for what is no table."""
    if source.kind == "folder":
        raise UserError(
            f"{source.path} is a folder, and a file is needed, or a folder that lm-eval, lighteval, HELM or AlpacaEval "
            f"wrote. {inside(source.path)}"
        )
    if source.kind == "zip":
        raise UserError(f"{source.path}: a zip archive, and no log of inspect_ai (.eval); unpack it.")
    known = next((name for keys, name in _UNREAD.items() if set(keys) <= set(source.first)), None)
    if known is not None:
        raise UserError(f"{source.path}: a file of {known}. It cannot be read: {_OWN_ROWS}.")
    if source.kind == "json":
        raise UserError(
            f"{source.path}: one JSON object with the fields {listed(sorted(source.first))}, and no log that is "
            f"known: {_OWN_ROWS}."
        )
    return _TABLE
