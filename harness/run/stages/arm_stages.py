"""The stages of one arm: each shows its progress, and a failure is recorded with the stage in which it happened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mipo_bench.harness.core.progress import Display, Stage
from mipo_bench.harness.evaluation.failures import failure_line, failure_record, recorded
from mipo_bench.harness.protocols import Arm
from mipo_bench.reports.records.report import FailureRecord


@dataclass(slots=True)
class ArmStages:
    """The stages of one arm. `current` is the name of the latest one."""

    arm: Arm
    display: Display
    current: str = ""

    @contextmanager
    def stage(self, name: str, unit: str) -> Iterator[Stage]:
        """Show the progress of a stage while the block runs."""
        self.current = name
        seed = "" if self.arm.train_seed is None else f" seed {self.arm.train_seed}"
        with self.display.stage(f"{self.arm.task} {self.arm.method}{seed}: {name}", unit) as stage:
            yield stage


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
