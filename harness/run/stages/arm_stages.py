"""The stages of one arm: each shows its progress, and a failure is recorded with the stage in which it happened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mipo_bench.harness.core.pace import Pace, Work
from mipo_bench.harness.core.progress import Display, Stage, rounded_time
from mipo_bench.harness.evaluation.failures import failure_line, failure_record, recorded
from mipo_bench.harness.protocols import Arm
from mipo_bench.reports.records.report import FailureRecord


@dataclass(slots=True)
class ArmStages:
    """The stages of one arm. `current` is the name of the latest one; `computed`, whether one took any work."""

    arm: Arm
    display: Display
    current: str = ""
    computed: bool = False

    @contextmanager
    def stage(self, name: str, unit: str) -> Iterator[Stage]:
        """Show the progress of a stage while the block runs."""
        self.current = name
        seed = "" if self.arm.train_seed is None else f" seed {self.arm.train_seed}"
        with self.display.stage(f"{self.arm.task} {self.arm.method}{seed}: {name}", unit) as stage:
            try:
                yield stage
            finally:
                self.computed |= stage.computed_anything


@dataclass(slots=True)
class FailureLog:
    """The failures of a run's arms, each shown on the display when it happens."""

    display: Display
    records: list[FailureRecord] = field(default_factory=list)

    @contextmanager
    def stages_of(self, arm: Arm) -> Iterator[ArmStages]:
        """Run the stages of an arm in the block, and record an error as a failure of the current stage.

        Errors that the user must repair pass through and end the run (see `recorded`).
        """
        stages = ArmStages(arm, self.display)

        def record(error: BaseException) -> None:
            failure = failure_record(arm.task, arm.method, arm.train_seed, stages.current, error)
            self.records.append(failure)
            self.display.say(failure_line(failure))

        with recorded(record):
            yield stages


@dataclass(frozen=True, slots=True)
class ArmCount:
    """Says after each arm that took work how many of `total` arms are left, and about how long they take."""

    display: Display
    total: int
    pace: Pace

    def count(self, *, computed: bool) -> None:
        """Count an arm; one that was in the store, or that another process has computed, took no work here."""
        pace = self.pace
        if not computed:
            pace.spare(Work(1))
            return
        pace.count_results(1)
        if over := pace.work.results - pace.results:
            left = pace.left()
            about = "" if left is None else f", about {rounded_time(left)} for these"
            self.display.say(f"{over} of {self.total} trained arms left{about}")
