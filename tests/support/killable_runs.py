"""Runs in processes of their own that can be killed: the real store and runner on a fake model.

Started as a script it is a server that forks a process for each run, so that a test does not wait for imports. Each
process appends a letter to a file for everything that it does, by which a test sees where it is.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from fakes import FakeEngine, FakeGenerator, SilentDisplay

from mipo_bench.harness.backends.base import TrainedCheckpoint
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.planning.plan import Plan, make_plan
from mipo_bench.harness.protocols import Arm, Request
from mipo_bench.harness.run.interrupt import EXIT_INTERRUPTED, ctrl_c_stops
from mipo_bench.harness.run.launch import Processes
from mipo_bench.harness.run.publish import write
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.session import compute_report
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.store.rescue import open_for_run
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.harness.training.pairs import PairSet, PromptSet, example_count
from mipo_bench.harness.types import Item, Response, Score, Task
from mipo_bench.reports.records.report_file import sealed

GENERATE, PAIRS, TRAIN, SCORE, REPORT = "gptsr"
STAGES = {"generate": GENERATE, "pairs": PAIRS, "train": TRAIN, "score": SCORE, "report": REPORT}
STEPS = 8
_PAUSE = 0.0003
"""The minimum duration of every step in seconds, so that a kill can interrupt it."""

Mark = Callable[[str], None]


class SlowGenerator(FakeGenerator):
    """A fake generator that writes a mark for every response."""

    def __init__(self, name: str, mark: Mark) -> None:
        super().__init__(name, lambda request: _guess(name, request))
        self.mark = mark

    def _one(self, request: Request) -> Response:
        time.sleep(_PAUSE)
        self.mark(PAIRS if request.decoding.temperature == 1 else GENERATE)
        return super()._one(request)


def _guess(name: str, request: Request) -> str:
    rng = random.Random(f"{name} {request.seed} {request.prompt}")
    return f"{rng.randint(0, 10**6)} words. Answer: {rng.randint(1, 9)}"


class StoringEngine(FakeEngine):
    """A fake backend that keeps checkpoints in the store, as the real one does."""

    def __init__(self, store: Store, mark: Mark) -> None:
        super().__init__(str, str)
        self.store, self.mark = store, mark
        self._base = SlowGenerator("base", mark)

    def trained(self, arm: Arm, data: PairSet | PromptSet, on_step: Callable[[int, int], None]) -> TrainedCheckpoint:
        def write_model(folder: Path) -> None:
            for step in range(STEPS):
                with (folder / "model.safetensors").open("ab") as file:
                    file.write(digest([arm, data.digest, step]).encode())
                time.sleep(4 * _PAUSE)
                self.mark(TRAIN)
                on_step(step + 1, STEPS)

        found = self.store.checkpoints.get_or_write(digest(["fake", arm, data.digest]), write_model)
        lineage = {"pairs": {"used": example_count(data), "digest": data.digest}, "curve": []}
        return TrainedCheckpoint(SlowGenerator(found.digest, self.mark), found.digest, lineage)


class MarkedTask:
    """A task that writes a mark for every score."""

    def __init__(self, task: Task, mark: Mark) -> None:
        self._task, self._mark = task, mark

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def score(self, item: Item, response: Response) -> Score:
        time.sleep(_PAUSE)
        self._mark(SCORE)
        return self._task.score(item, response)


class MarkedStore:
    """A store that writes a mark when a run is recorded."""

    def __init__(self, store: Store, mark: Mark) -> None:
        self._store, self._mark = store, mark

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put_run(self, run: StoredRun) -> None:
        self._mark(REPORT)
        self._store.put_run(run)
        self._mark(REPORT)


def settings(folder: Path, **options: Any) -> RunConfig:
    values = {"tasks": ["arithmetic"], "baselines": ["plain"], "limit": 36, "seeds": 2, **options}
    return load_config(None, [f"store={folder / 'store'}", f"out={folder / 'out'}"], values)


def run_once(folder: Path, processes: Processes, mark: Mark, seeds: int = 2) -> int:
    """The part of `mipo-bench run` that follows the choice of a model."""
    config = settings(folder, seeds=seeds)
    plan = _marked(make_plan(config), mark)
    _meet(folder, processes)
    try:
        with ctrl_c_stops(), closing(open_for_run(config.store)) as store:
            marked: Any = MarkedStore(store, mark)
            context = RunContext(config, plan, marked, StoringEngine(store, mark), SilentDisplay())
            report = compute_report(Run(context), processes)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    if report is not None:
        mark(REPORT)
        write(sealed(report), config.out)
        mark(REPORT)
    return 0


def _meet(folder: Path, processes: Processes) -> None:
    """Wait until all processes of a run have reached this point."""
    (folder / f"here-{processes.number}").touch()
    while any(not (folder / f"here-{n}").exists() for n in range(processes.count)):
        time.sleep(0.001)


def _marked(plan: Plan, mark: Mark) -> Plan:
    tasks: Any = tuple(replace(t, task=MarkedTask(t.task, mark)) for t in plan.tasks)
    return replace(plan, tasks=tasks)


@dataclass
class Process:
    """A run in a process of its own. `marks` has one letter for each thing it has done."""

    server: Server
    pid: int
    file: Path

    @property
    def marks(self) -> str:
        return self.file.read_text() if self.file.exists() else ""

    def wait(self) -> int:
        """Wait for its end. Returns its exit code, or minus the signal that ended it."""
        return self.server.ask({"wait": self.pid})

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if not self.server.ask({"ended": self.pid}):
            os.kill(self.pid, number)

    def reach(self, letter: str, count: int) -> bool:
        """Wait until it has written `letter` `count` times. False if it ends before that."""
        while self.marks.count(letter) < count:
            if self.server.ask({"ended": self.pid}):
                return self.marks.count(letter) >= count
            time.sleep(0.0005)
        return True


class Server:
    """A server that forks runs from a warm process. Use it as a context manager."""

    def __init__(self) -> None:
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()

    def start(self, folder: Path, number: int = 0, count: int = 1, seeds: int = 2) -> Process:
        """Start a run on `folder/store` that reports into `folder/out`."""
        self._count += 1
        folder.mkdir(exist_ok=True)
        file = folder / f"marks-{self._count}"
        asked = {"folder": str(folder), "number": number, "count": count, "marks": str(file), "seeds": seeds}
        pid = self.ask(asked)
        return Process(self, pid, file)

    def ask(self, request: Mapping[str, Any]) -> int:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def _serve(requests: Iterator[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:  # loads everything once, before any fork
        run_once(Path(folder), Processes(), lambda letter: None)
    ended: dict[int, int] = {}
    for line in requests:
        request = json.loads(line)
        if pid := request.get("ended"):
            _collect(ended, pid, os.WNOHANG)
            answer = int(pid in ended)
        elif pid := request.get("wait"):
            _collect(ended, pid, 0)
            answer = ended[pid]
        else:
            answer = os.fork() or _child(request)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _collect(ended: dict[int, int], pid: int, options: int) -> None:
    if pid not in ended:
        found, status = os.waitpid(pid, options)
        if found:
            ended[pid] = os.waitstatus_to_exitcode(status)


def _child(request: Mapping[str, Any]) -> int:
    """Run in the forked process, which ends here."""
    marks = os.open(request["marks"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    code = 99
    try:
        processes = Processes(request["number"], request["count"], request["number"], request["count"])
        folder, seeds = Path(request["folder"]), request["seeds"]
        code = run_once(folder, processes, lambda letter: _append(marks, letter), seeds)
    except BaseException:  # noqa: BLE001 - it must not return into the server
        traceback.print_exc()
    finally:
        os._exit(code)
    return code


def _append(file: int, letter: str) -> None:
    os.write(file, letter.encode())


def main(arguments: Sequence[str]) -> None:
    """Serve the requests on stdin."""
    assert not arguments
    _serve(iter(sys.stdin))


if __name__ == "__main__":
    main(sys.argv[1:])
