"""Threads that compute trained arms on the hosts of a cluster into the store, where the run then finds them.

The driver is one process; each thread has its own connection to the store. An arm is claimed while it is computed, so
that a second driver on the same store computes other ones.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue

from mipo_bench.harness.cluster.engine import ClusterBackend
from mipo_bench.harness.cluster.pool import Pool
from mipo_bench.harness.core.progress import SilentDisplay, Stage
from mipo_bench.harness.planning.plan import TaskPlan
from mipo_bench.harness.protocols import Arm
from mipo_bench.harness.run.stages.answerers import ModelAnswerer
from mipo_bench.harness.run.stages.arm_stages import FailureLog
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.run.stages.train_arms import ArmTrainer
from mipo_bench.harness.store.run_store import Store

Units = Mapping[str, tuple[TaskPlan, Arm]]
"""Key of a claim -> trained arm, with its task."""
Helpers = Callable[[Units], None]
"""Computes trained arms into the store, except those that another process has claimed."""
_POLL = 0.5
"""Seconds between two looks whether hosts have joined."""


@dataclass(frozen=True, slots=True)
class HostThreads:
    """Helpers: a thread for each host. An arm that fails is left to the run, which meets the same error."""

    context: RunContext
    folder: Path
    """The base model's folder here."""
    pool: Pool

    def __call__(self, units: Units) -> None:
        """Compute the units. Raises UserError where the cluster or the store cannot be used."""
        waiting, ended = SimpleQueue[tuple[str, TaskPlan, Arm]](), SimpleQueue[BaseException | None]()
        for key, (task, arm) in units.items():
            waiting.put((key, task, arm))
        threads = 0
        with self.context.display.stage("trained arms on all hosts", "arms") as stage:
            stage.total = len(units)
            while stage.done < stage.total:
                while threads < min(max(1, self.pool.size), len(units)):
                    threading.Thread(target=self._work, args=(waiting, ended), daemon=True).start()
                    threads += 1
                _count(ended, stage)

    def _work(self, waiting: SimpleQueue[tuple[str, TaskPlan, Arm]], ended: SimpleQueue[BaseException | None]) -> None:
        """Compute arms until none is waiting; for each put None, or the error that ends the run."""
        context = self.context
        try:
            with closing(Store(context.store.folder)) as store:
                backend = ClusterBackend(context.config, self.folder, store, self.pool)
                own = replace(context, store=store, backend=backend, display=_FinishedStages(context.display.say))
                answerer = ModelAnswerer(own, ArmTrainer(own))
                while True:
                    _compute(answerer, *waiting.get_nowait())
                    ended.put(None)
        except Empty:
            return
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            ended.put(error)


def _compute(answerer: ModelAnswerer, key: str, task: TaskPlan, arm: Arm) -> None:
    """Train and answer one arm, unless another process has claimed it."""
    claims = answerer.context.store.claims
    claimed = claims.take([key])
    if not claimed:
        return
    try:
        with FailureLog(answerer.context.display).stages_of(arm) as stages:
            answerer.answer(task, arm, stages)
    finally:
        claims.release(claimed)


def _count(ended: SimpleQueue[BaseException | None], stage: Stage) -> None:
    """Count an arm that has ended, or wait a moment. Raises the error that ends the run."""
    try:
        error = ended.get(timeout=_POLL)
    except Empty:
        return
    if error is not None:
        raise error
    stage.tick(1)


@dataclass(frozen=True, slots=True)
class _FinishedStages:
    """A display for one of several threads: a line for each stage that is over."""

    show: Callable[[str], None]

    @contextmanager
    def stage(self, name: str, unit: str) -> Iterator[Stage]:
        with SilentDisplay().stage(name, unit) as stage:
            yield stage
        if stage.computed_anything:
            self.show(f"{stage.name}: {stage.done} {unit}, {stage.seconds:.1f} s")

    def say(self, line: str) -> None:
        """Show nothing: the run itself meets the same failure and shows it."""
