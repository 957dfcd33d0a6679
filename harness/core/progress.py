"""The progress display of a run: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mipo_bench.harness.core.text import without_control_characters

_EVERY = 15.0
"""Seconds between two plain lines of one stage."""


class Stage:
    """The progress of one stage: `done` of `total` units, and the `tokens` generated for them.

    The code that does the work sets `total` as soon as it is known.
    """

    def __init__(self, name: str, unit: str) -> None:
        """A stage whose total is not known yet."""
        self.name, self.unit = without_control_characters(name), unit
        self.total = self.done = self.tokens = 0
        self.started = time.monotonic()

    def tick(self, done: int, tokens: int = 0) -> None:
        """Count `done` more units, and `tokens` more generated tokens."""
        self.done += done
        self.tokens += tokens

    @property
    def computed_anything(self) -> bool:
        """Whether anything was computed; False if every result came from the store."""
        return self.tokens > 0 or (self.unit == "steps" and self.done > 0)

    @property
    def rate(self) -> str:
        """Speed so far: tokens per second if there are tokens, else units per second."""
        seconds = max(time.monotonic() - self.started, 1e-6)
        if self.tokens:
            return f"{self.tokens / seconds:,.0f} tok/s"
        return f"{self.done / seconds:,.1f} {self.unit}/s"


class Display(Protocol):
    """Shows the stages of a run. A stage whose results all came from the store leaves no line."""

    def stage(self, name: str, unit: str) -> AbstractContextManager[Stage]:
        """Show a stage while the block runs."""
        ...

    def say(self, line: str) -> None:
        """Show a line that stays."""
        ...


class _PlainStage(Stage):
    def __init__(self, name: str, unit: str, console: Console) -> None:
        super().__init__(name, unit)
        self.console, self.shown = console, self.started

    def tick(self, done: int, tokens: int = 0) -> None:
        super().tick(done, tokens)
        now = time.monotonic()
        if now - self.shown >= _EVERY and self.done < self.total:
            self.shown = now
            left = (now - self.started) / self.done * (self.total - self.done) if self.done else 0
            self._say(f"{self.done}/{self.total} {self.unit}, {self.rate}, about {left:.0f} s left")

    def end(self) -> None:
        seconds = time.monotonic() - self.started
        self._say(f"{self.done}/{self.total} {self.unit}, {self.rate}, {seconds:.1f} s")

    def _say(self, text: str) -> None:
        self.console.print(f"{self.name}: {text}", markup=False, highlight=False, soft_wrap=True)


class PlainDisplay:
    """Plain lines: one when a stage ends, and one every `_EVERY` seconds before that."""

    def __init__(self, console: Console) -> None:
        """Write to `console`."""
        self.console = console

    @contextmanager
    def stage(self, name: str, unit: str) -> Iterator[Stage]:
        """Show a stage."""
        stage = _PlainStage(name, unit, self.console)
        yield stage
        if stage.computed_anything:
            stage.end()

    def say(self, line: str) -> None:
        """Show a line."""
        self.console.print(without_control_characters(line), markup=False, highlight=False, soft_wrap=True)


class SilentDisplay:
    """Shows nothing; for the Python API, and for worker processes, whose work another process reports."""

    @contextmanager
    def stage(self, name: str, unit: str) -> Iterator[Stage]:
        """Show nothing."""
        yield Stage(name, unit)

    def say(self, line: str) -> None:
        """Show nothing."""


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        stage = task.fields["stage"]
        return Text(stage.rate, style="progress.data.speed")


class _LiveStage(Stage):
    def __init__(self, name: str, unit: str, progress: Progress) -> None:
        super().__init__(name, unit)
        self.progress = progress
        self.id = progress.add_task(self.name, total=None, stage=self)

    def tick(self, done: int, tokens: int = 0) -> None:
        super().tick(done, tokens)
        self.progress.update(self.id, completed=self.done, total=self.total)


class LiveDisplay:
    """A bar for the current stage; each finished stage stays above it as one line."""

    def __init__(self, console: Console) -> None:
        """Draw on `console`, which must be a terminal."""
        self.console = console

    @contextmanager
    def stage(self, name: str, unit: str) -> Iterator[Stage]:
        """Show a stage as a bar."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            stage = _LiveStage(name, unit, progress)
            yield stage
        if stage.computed_anything:
            seconds = time.monotonic() - stage.started
            self.say(f"✓ {stage.name}: {stage.done} {unit}, {stage.rate}, {seconds:.1f} s")

    def say(self, line: str) -> None:
        """Show a line above the bar."""
        self.console.print(without_control_characters(line), markup=False, highlight=False)


def display_for(console: Console) -> Display:
    """The live display on a terminal, the plain one elsewhere."""
    return LiveDisplay(console) if console.is_terminal and not console.is_dumb_terminal else PlainDisplay(console)


class Meter(Protocol):
    """Counts answers and newly generated tokens."""

    total: int

    def tick(self, done: int, tokens: int = 0) -> None:
        """Count `done` more answers and `tokens` more tokens."""
        ...
