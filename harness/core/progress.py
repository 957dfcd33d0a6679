"""The progress display of a run: a live bar on a terminal, plain lines elsewhere.

A display shows a `Stage`; the code that computes counts its work on it. Code deep below a stage, such as a decoding
step, finds the stage that is shown with `current_stage`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from threading import Event, Thread
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.text import Text

from mipo_bench.harness.core.pace import Clock, Length, Pace, Work
from mipo_bench.harness.core.text import without_control_characters

_EVERY = 10.0
"""Seconds between two plain lines of one stage."""
_BAR_WIDTH = 12


class Stage:
    """The progress of one stage: `done` of `total` results, and the `tokens` of those that were computed.

    The code that does the work sets `total` as soon as it is known.
    """

    def __init__(self, name: str, unit: str, clock: Clock = time.monotonic) -> None:
        """A stage whose total is not known yet."""
        self.name, self.unit = without_control_characters(name), unit
        self.total = self.done = 0
        self.pace = Pace(clock)
        self.started = clock()
        self._clock = clock
        self._doing = ""
        self._counted = self._scored = 0

    def expect(self, work: Work, processes: int = 1) -> None:
        """Add work that the store lacks, and that so many processes share."""
        self.pace.expect(work, processes)

    def find(self, done: int, spared: Work | None = None) -> None:
        """Count results in the store. If another process has just computed them, that spares the work for them."""
        self.done += done
        if spared:
            self.pace.spare(spared)

    def tick(self, done: int, tokens: int = 0) -> None:
        """Count `done` more computed results, of so many tokens. These may have been counted as they came."""
        self.done += done
        self._counted += tokens
        self.pace.count_results(done)

    def read(self, characters: int, scored: int = 0) -> None:
        """Count computed prompts by their characters, and the tokens after them whose likelihoods are known now."""
        self._scored += scored
        self.pace.count_read(characters)

    def decode(self, running: Sequence[Length], ended: Sequence[Length]) -> None:
        """Count a decoding step, given the responses that run on, and those that it ended."""
        self.pace.count_step(running, ended)

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Show that the block does this, such as `loading the model`. Its time says nothing about the time left."""
        self._doing, began = what, self._clock()
        try:
            yield
        finally:
            self._doing = ""
            self.pace.pause(self._clock() - began)

    @property
    def tokens(self) -> int:
        """Tokens so far, also those of responses and likelihoods that are not finished."""
        return max(self._counted, self._scored + self.pace.tokens)

    @property
    def seconds(self) -> float:
        """Seconds since the stage began."""
        return self._clock() - self.started

    @property
    def computed_anything(self) -> bool:
        """Whether anything was computed; False if every result came from the store."""
        return self.tokens > 0 or self.pace.results > 0

    @property
    def rate(self) -> str:
        """Speed so far: tokens per second if there are tokens, else units per second or seconds for each."""
        seconds = max(self._clock() - self.pace.began, 1e-6)
        if self.tokens:
            return f"{self.tokens / seconds:,.0f} tok/s"
        speed = self.pace.results / seconds
        return f"{1 / speed:,.1f} s each" if 0 < speed < 1 else f"{speed:,.1f} {self.unit}/s"

    @property
    def count(self) -> str:
        """Results so far; empty while their number is not known."""
        return f"{self.done}/{self.total} {self.unit}" if self.total else ""

    @property
    def share(self) -> float | None:
        """The share of the stage's time that is over; None while it cannot be known."""
        left, spent = self.pace.left(), self._clock() - self.pace.began
        return None if left is None else spent / max(spent + left, 1e-6)

    @property
    def figures(self) -> str:
        """Speed, and time left where it can be known; before the first token, the share of prompts that are read."""
        parts = [self._doing]
        if self.tokens:
            parts += [f"{self.tokens:,} tokens", self.rate]
        elif self.pace.results:
            parts.append(self.rate)
        elif self.pace.characters:
            parts.append(f"{self.pace.share_read:.0%} of the prompts read")
        return ", ".join(part for part in (*parts, self._time) if part)

    @property
    def _time(self) -> str:
        """The time left; before that can be estimated, the time so far with the least and the most that is left.

        The least is the time for the prompts alone; the most is that of responses which all reach their token limit.
        """
        if (left := self.pace.left()) is not None:
            return f"about {rounded_time(left)} left in this stage"
        so_far, least, most = f"{self.seconds:.0f} s so far", self.pace.reading_left, self.pace.most_left()
        if most is not None:
            from_least = f"about {rounded_time(least)} to" if least >= 1 else "at most"
            return f"{so_far}, {from_least} {rounded_time(most)} left in this stage"
        return f"{so_far}, about {rounded_time(least)} left for the prompts alone" if least >= 1 else so_far


def rounded_time(seconds: float) -> str:
    """A time of which only the size is known, in words: `5 s`, `40 s`, `3 min`, `2.5 h`."""
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 90:
        return f"{round(seconds, -1):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


_current: ContextVar[Stage] = ContextVar("_current")


def current_stage() -> Stage:
    """The stage that is shown; outside every stage, one that nobody sees."""
    return _current.get(None) or Stage("", "")


@contextmanager
def _as_current(stage: Stage) -> Iterator[Stage]:
    token = _current.set(stage)
    try:
        yield stage
    finally:
        _current.reset(token)


class Display(Protocol):
    """Shows the stages of a run. A stage whose results all came from the store leaves no line."""

    def stage(self, name: str, unit: str) -> AbstractContextManager[Stage]:
        """Show a stage while the block runs."""
        ...

    def say(self, line: str) -> None:
        """Show a line that stays."""
        ...


class PlainDisplay:
    """Plain lines: one when a stage ends, and one every few seconds before that, whatever the stage is at."""

    def __init__(self, console: Console, every: float = _EVERY) -> None:
        """Write to `console`, in a stage `every` so many seconds."""
        self.console, self.every = console, every

    @contextmanager
    def stage(self, name: str, unit: str) -> Iterator[Stage]:
        """Show a stage."""
        stage, ended = Stage(name, unit), Event()
        thread = Thread(target=self._repeat, args=(stage, ended), daemon=True)
        thread.start()
        try:
            with _as_current(stage):
                yield stage
        finally:
            ended.set()
            thread.join()
        if stage.computed_anything:
            self._show(stage, f"{stage.rate}, {stage.seconds:.1f} s")

    def _repeat(self, stage: Stage, ended: Event) -> None:
        """Show the stage at even intervals: one step of it, such as the first prompts of a batch, may take long."""
        while not ended.wait(self.every):
            self._show(stage, stage.figures)

    def _show(self, stage: Stage, figures: str) -> None:
        self.say(f"{stage.name}: {', '.join(part for part in (stage.count, figures) if part)}")

    def say(self, line: str) -> None:
        """Show a line."""
        self.console.print(without_control_characters(line), markup=False, highlight=False, soft_wrap=True)


class SilentDisplay:
    """Shows nothing; for the Python API, and for worker processes, whose work another process reports."""

    @contextmanager
    def stage(self, name: str, unit: str) -> Iterator[Stage]:
        """Show nothing."""
        with _as_current(Stage(name, unit)) as stage:
            yield stage

    def say(self, line: str) -> None:
        """Show nothing."""


class _StageBar(ProgressColumn):
    """A bar by the time that a stage has taken and still takes; it pulses while that is not known."""

    def render(self, task: Task) -> RenderableType:
        share = task.fields["stage"].share
        return ProgressBar(1, share or 0, width=_BAR_WIDTH, pulse=share is None, animation_time=task.get_time())


class _StageFigures(ProgressColumn):
    """What a plain line shows, too."""

    def render(self, task: Task) -> Text:
        stage: Stage = task.fields["stage"]
        return Text(", ".join(part for part in (stage.count, stage.figures) if part), style="progress.data.speed")


class LiveDisplay:
    """A bar for the current stage; each finished stage stays above it as one line."""

    def __init__(self, console: Console) -> None:
        """Draw on `console`, which must be a terminal."""
        self.console = console

    @contextmanager
    def stage(self, name: str, unit: str) -> Iterator[Stage]:
        """Show a stage as a bar, which is drawn again several times a second."""
        stage = Stage(name, unit)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            _StageBar(),
            _StageFigures(),
        )
        with Progress(*columns, console=self.console, transient=True) as progress, _as_current(stage):
            progress.add_task(stage.name, total=None, stage=stage)
            yield stage
        if stage.computed_anything:
            self.say(f"✓ {stage.name}: {stage.done} {unit}, {stage.rate}, {stage.seconds:.1f} s")

    def say(self, line: str) -> None:
        """Show a line above the bar."""
        self.console.print(without_control_characters(line), markup=False, highlight=False)


def display_for(console: Console) -> Display:
    """The live display on a terminal, the plain one elsewhere."""
    return LiveDisplay(console) if console.is_terminal and not console.is_dumb_terminal else PlainDisplay(console)


class Meter(Protocol):
    """Counts results and their tokens; see `Stage`."""

    total: int

    def expect(self, work: Work, processes: int = 1) -> None:
        """Add work that the store lacks."""
        ...

    def find(self, done: int, spared: Work | None = None) -> None:
        """Count results that need no work here."""
        ...

    def tick(self, done: int, tokens: int = 0) -> None:
        """Count computed results and their tokens."""
        ...
