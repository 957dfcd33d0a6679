"""Worker processes on this machine that share the work of one run. They end when the run ends, also after a crash."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.provenance import usable_cores
from mipo_bench.harness.run.launch import Processes, as_environment

_MAX_DEFAULT = 4
"""Most processes where `processes` is 0: each loads the libraries into memory."""
_EXIT_SECONDS = 10.0
"""Seconds in which a worker must exit after the report is complete."""


def worker_count(config: RunConfig) -> int:
    """Number of processes of a run that was started without a launcher."""
    if config.source.kind == "responses" or config.train.processes > 1 or config.cluster.address:
        return 1
    return config.processes or min(usable_cores(), _MAX_DEFAULT)


@contextmanager
def worker_starter(config: RunConfig, first: Processes, environment: Mapping[str, str]) -> Iterator[Callable[[], None]]:
    """Yield a function that starts the worker processes, in the environment in which the first process was started.

    An error in the block ends the workers at once: the store stays valid whenever a process ends.
    """
    workers: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        ranks = (Processes(n, first.count, n, first.count) for n in range(1, first.count))
        workers.extend(_start(config, rank, environment) for rank in ranks)

    seconds = 0.0
    try:
        yield start
        seconds = _EXIT_SECONDS
    finally:
        for worker in workers:
            _end(worker, seconds)


def _start(config: RunConfig, processes: Processes, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a worker. It reads the configuration from standard input, and exits at the latest when that is closed."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "mipo_bench.harness.run.worker_main"],
        env={**environment, **as_environment(processes)},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C reaches the first process only, which then ends the workers
    )
    assert worker.stdin is not None
    worker.stdin.write(config_to_line(config))
    worker.stdin.flush()
    return worker


def _end(worker: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        worker.wait(seconds)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def config_to_line(config: RunConfig) -> bytes:
    """The configuration as one line of JSON, with what reports leave out."""
    values = config.model_dump(mode="json")
    values["include"] = [str(include.path) for include in config.include]
    values["data"] = {task: str(folder) for task, folder in config.data.items()}
    values["skip_missing"] = config.skip_missing
    values["cluster"] = config.cluster.model_dump(mode="json")
    return f"{json.dumps(values)}\n".encode()
