"""Further processes on this machine that share the work of one run; they end with it, however it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.provenance import usable_cores
from mipo_bench.harness.run.launch import Processes, as_environment

_MOST = 4
"""Processes that are started unless a number is given: each holds the libraries in memory."""
_PATIENCE = 10.0
"""Seconds that a helper may take to end by itself once the report is made."""


def worker_count(config: RunConfig) -> int:
    """Processes of a run that no launcher has started."""
    if config.source.kind == "responses":
        return 1
    return config.processes or min(usable_cores(), _MOST)


@contextmanager
def with_workers(config: RunConfig, place: Processes, environment: Mapping[str, str]) -> Iterator[None]:
    """Start all processes beside the first, with the environment that it was started with itself.

    When the block is left by an error they are ended at once: nothing in the store depends on a clean end.
    """
    helpers = [_start(config, Processes(n, place.count, n, place.count), environment) for n in range(1, place.count)]
    patience = 0.0
    try:
        yield
        patience = _PATIENCE
    finally:
        for helper in helpers:
            _end(helper, patience)


def _start(config: RunConfig, place: Processes, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A helper reads the configuration from its standard input, and lives until that is closed, at the longest."""
    helper = subprocess.Popen(
        [sys.executable, "-m", "mipo_bench.harness.run.worker_main"],
        env={**environment, **as_environment(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C reaches the first process alone, which ends the others
    )
    assert helper.stdin is not None
    helper.stdin.write(config_to_line(config))
    helper.stdin.flush()
    return helper


def _end(helper: subprocess.Popen[bytes], patience: float) -> None:
    try:
        helper.wait(patience)
    except subprocess.TimeoutExpired:
        helper.kill()
        helper.wait()


def config_to_line(config: RunConfig) -> bytes:
    """The whole configuration in a line, the paths too that reports leave out."""
    values = config.model_dump(mode="json")
    values["include"] = [str(include.path) for include in config.include]
    values["data"] = {task: str(folder) for task, folder in config.data.items()}
    return f"{json.dumps(values)}\n".encode()
