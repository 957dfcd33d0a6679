"""`run --profile`: the seconds of each stage, and the share of each part of the program in them.

A thread looks at the main thread's stack a hundred times a second, so that no other module knows of it. The time since
its last look belongs to the part that it finds: the innermost frame decides, but whatever runs inside an import is one.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType, TracebackType

from mipo_bench.harness.core.progress import Display, Stage

_EVERY = 0.01
"""Seconds between two looks."""
_IMPORTS = "imports"
_PARTS = (
    ("<frozen importlib", _IMPORTS),
    ("/harness/store/", "store"),
    ("/harness/inference/", "model"),
    ("/harness/training/", "training"),
    ("/harness/diagnostics/", "guards and information"),
    ("/harness/generators/", "prompts"),
    ("/harness/startup/", "prompts"),
    ("/baselines/", "prompts"),
    ("/tasks/", "tasks and scores"),
    ("/harness/evaluation/", "tasks and scores"),
    ("/harness/plugins/", "tasks and scores"),
    ("/harness/planning/", "tasks and scores"),
    ("/reports/", "tests and report"),
)
"""A piece of a file's path -> the part of the program that it belongs to."""
_REST = "rest"


@dataclass(slots=True)
class _Stages:
    """The stages of one kind."""

    seconds: float = 0.0
    results: int = 0
    tokens: int = 0


@dataclass
class Profiler:
    """Measures the block that it is the context of. `display` shows the stages and lets this one measure them."""

    display: Display
    shares: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    stages: dict[str, _Stages] = field(default_factory=dict)
    seconds: float = 0.0

    def __enter__(self) -> Profiler:
        """Begin to look at the thread that calls this."""
        self._ended = threading.Event()
        self._began = time.perf_counter()
        self._thread = threading.Thread(target=self._look, args=(threading.get_ident(),), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self.seconds = time.perf_counter() - self._began
        self._ended.set()
        self._thread.join()

    def _look(self, thread: int) -> None:
        last = self._began
        while not self._ended.wait(_EVERY):
            now = time.perf_counter()
            self.shares[part_of(sys._current_frames().get(thread))] += now - last
            last = now

    @contextmanager
    def stage(self, name: str, unit: str) -> Iterator[Stage]:
        """See `Display`. Stages whose names end alike are one kind: the name of an arm stands before it."""
        found = self.stages.setdefault(name.rpartition(": ")[2], _Stages())
        began = time.perf_counter()
        with self.display.stage(name, unit) as stage:
            try:
                yield stage
            finally:
                found.seconds += time.perf_counter() - began
                found.results += stage.done
                found.tokens += stage.tokens

    def say(self, line: str) -> None:
        """See `Display`."""
        self.display.say(line)

    def lines(self) -> Iterator[str]:
        """The profile as text: the stages in their order, then the parts, the largest first."""
        yield f"profile of this process, {self.seconds:.1f} s in all"
        width = max([len("stage"), *map(len, self.stages)])
        yield f"{'stage':{width}}  seconds  results    tokens"
        for name, stage in self.stages.items():
            yield f"{name:{width}}  {stage.seconds:7.1f}  {stage.results:7,}  {stage.tokens:8,}"
        total = sum(self.shares.values()) or 1.0
        largest = sorted(self.shares.items(), key=lambda share: -share[1])
        yield "shares: " + ", ".join(f"{part} {seconds / total:.0%}" for part, seconds in largest)


def part_of(frame: FrameType | None) -> str:
    """The part of the program that a stack belongs to."""
    parts = []
    while frame is not None:
        path = frame.f_code.co_filename
        parts += [part for piece, part in _PARTS if piece in path][:1]
        frame = frame.f_back
    return _IMPORTS if _IMPORTS in parts else next(iter(parts), _REST)
