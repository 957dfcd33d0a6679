"""Trains one checkpoint in several processes, each on a device of its own.

`train_in_processes` takes the place of `train.train`: a job file goes in, a checkpoint folder comes out. The processes
are those of `accelerate launch`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mipo_bench.harness import errors
from mipo_bench.harness.core.progress import current_stage
from mipo_bench.harness.errors import MipoBenchError, TrainingError
from mipo_bench.harness.training.distributed.accelerate_file import accelerate_values
from mipo_bench.harness.training.distributed.events import Event, Failed, Killed, Started, Stepped, received
from mipo_bench.harness.training.distributed.job_file import write_job
from mipo_bench.harness.training.job import OnStep, Training
from mipo_bench.harness.training.train import with_retries

_STARTER = "mipo_bench.harness.training.distributed.starter"
_WORKER = ("--module", "mipo_bench.harness.training.distributed.worker")
_EXIT_SECONDS = 5.0
"""Seconds in which all processes must have ended after the run has told them to."""


def train_in_processes(training: Training, out: Path, on_step: OnStep, worker: Sequence[str] = _WORKER) -> None:
    """Train as `train.train` does, in `train.processes` processes, and again in less memory where it runs out.

    Raises the error of the process that failed first, and TrainingError for one that was killed. No process is left
    when this function ends, also by Ctrl-C. `worker` is the module or script of the processes, as `accelerate launch`
    takes it.
    """
    threads = training.placement.threads and max(1, training.placement.threads // training.settings.processes)
    training = replace(training, placement=replace(training.placement, threads=threads))

    def attempt(training: Training) -> None:
        with tempfile.TemporaryDirectory() as folder:
            _Launch(training, Path(folder)).run(out, on_step, worker)

    with_retries(training, attempt)


@dataclass
class _Launch:
    """One attempt of a training, in a folder for its job file and for the files that its processes share."""

    training: Training
    folder: Path
    started: list[Started] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    killed: list[Killed] = field(default_factory=list)

    def run(self, out: Path, on_step: OnStep, worker: Sequence[str]) -> None:
        with (self.folder / "log.txt").open("wb") as log:
            process = self._start(out, worker, log.fileno())
            try:
                self._follow(process, on_step)
            finally:
                self._end(process)
        if process.returncode != 0:
            raise self._error(process.returncode)

    def _start(self, out: Path, worker: Sequence[str], log: int) -> subprocess.Popen[str]:
        """Start accelerate in a process group of its own: Ctrl-C reaches the run alone, which ends the others."""
        job, file = self.folder / "job.json", self.folder / "accelerate.yaml"
        digest = write_job(self.training, job)
        file.write_text(json.dumps(accelerate_values(self.training.settings)), encoding="utf-8")  # JSON is YAML too
        threads = {"OMP_NUM_THREADS": str(self.training.placement.threads)} if self.training.placement.threads else {}
        return subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, "-m", _STARTER, "--config_file", file, *worker, job, digest, out],
            env={**os.environ, **threads},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )

    def _follow(self, process: subprocess.Popen[str], on_step: OnStep) -> None:
        """Report the steps until no process of the training is left."""
        events = _events(process)
        with current_stage().doing(f"starting {self.training.settings.processes} processes"):
            first = next((step for event in events if (step := self._noted(event))), None)
        if first is not None:
            on_step(first.step, first.total)
        for event in events:
            if step := self._noted(event):
                on_step(step.step, step.total)

    def _noted(self, event: Event) -> Stepped | None:
        """The event if it is a step; others are kept."""
        match event:
            case Stepped():
                return event
            case Started():
                self.started.append(event)
            case Failed():
                self.failed.append(event)
            case Killed():
                self.killed.append(event)
        return None

    def _end(self, process: subprocess.Popen[str]) -> None:
        """End all processes. Each ends by itself when its standard input is closed, unless it hangs."""
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
        try:
            process.communicate(timeout=_EXIT_SECONDS)  # until the last of them has closed standard output
        except subprocess.TimeoutExpired:
            for pid in (process.pid, *(event.pid for event in self.started)):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
            process.wait()

    def _error(self, code: int) -> Exception:
        """The error of the process that failed first: the others fail because they wait for it."""
        count = self.training.settings.processes
        if self.killed:
            found = self.killed[0]
            return TrainingError(
                f"process {found.rank + 1} of {count} was killed ({found.signal}); the machine may have run out of"
                f" memory ({self._last_words()})"
            )
        if not self.failed:
            return TrainingError(f"the processes of the training ended with exit code {code}: {self._last_words()}")
        first = min(self.failed, key=lambda event: event.time)
        if first.out_of_memory:
            return MemoryError(first.message)
        kind = getattr(errors, first.kind, None)
        where = f"(process {first.rank + 1} of {count})"
        if isinstance(kind, type) and issubclass(kind, MipoBenchError):
            return kind(f"{first.message} {where}")
        return TrainingError(f"{first.kind}: {first.message} {where}")

    def _last_words(self) -> str:
        lines = (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "without a word")


def _events(process: subprocess.Popen[str]) -> Iterator[Event]:
    assert process.stdout is not None
    return (event for line in process.stdout if (event := received(line)))
