"""`run --profile`: stages of one kind are one line, and the time belongs to the part of the program that took it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import FrameType

from fakes import SilentDisplay

from mipo_bench.harness.run.stages.profile import Profiler, part_of


def frame_in(path: str) -> FrameType:
    """A frame of code in a file of this path."""
    found: list[FrameType] = []
    exec(compile("found.append(sys._getframe())", path, "exec"), {"found": found, "sys": sys})
    return found[0]


def test_stages_of_one_kind_are_added_up() -> None:
    display = SilentDisplay()
    with Profiler(display) as profiler:
        for name in ("persona plain: evaluation", "facts mipo-random seed 1: evaluation", "start"):
            with profiler.stage(name, "responses") as stage:
                stage.tick(3, 40)
        time.sleep(0.05)
    head, columns, evaluation, start, shares = profiler.lines()
    assert head.startswith("profile of this process, 0.")
    assert columns.split() == ["stage", "seconds", "results", "tokens"]
    assert evaluation.split() == ["evaluation", "0.0", "6", "80"]
    assert start.split() == ["start", "0.0", "3", "40"]
    assert shares == "shares: rest 100%"
    assert [stage.name for stage in display.stages][-1] == "start"


def test_a_stack_belongs_to_its_innermost_part(tmp_path: Path) -> None:
    assert part_of(frame_in("/x/harness/store/run_store.py")) == "store"
    assert part_of(frame_in("/x/harness/diagnostics/guards.py")) == "guards and information"
    assert part_of(frame_in("<frozen importlib._bootstrap>")) == "imports"
    assert part_of(None) == "rest"
