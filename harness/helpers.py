"""Further processes on this machine that share the work of one run; they end with it, however it ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING

from mipo_bench.harness.config import RunConfig
from mipo_bench.harness.processes import Processes, as_environment
from mipo_bench.harness.provenance import usable_cores
from mipo_bench.harness.responses_file import is_responses

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

_MOST = 4
"""Processes that are started unless a number is given: each holds the libraries in memory."""
_PATIENCE = 10.0
"""Seconds that helpers may take to end by themselves once the report is made."""


def wanted(config: RunConfig) -> int:
    """Processes of a run that no launcher has started."""
    if is_responses(config.model):
        return 1
    return config.processes or min(usable_cores(), _MOST)


@contextmanager
def helped(config: RunConfig, place: Processes, environment: Mapping[str, str]) -> Iterator[None]:
    """Start all processes beside the first, with the environment that it was started with itself.

    When the block ends early they are ended at once: nothing in the store depends on a clean end.
    """
    spawn = get_context("spawn")
    helpers = [
        spawn.Process(target=_help, args=(config, Processes(n, place.count, n, place.count), dict(environment)))
        for n in range(1, place.count)
    ]
    for helper in helpers:
        helper.start()
    patience = 0.0
    try:
        yield
        patience = _PATIENCE
    finally:
        for helper in helpers:
            _end(helper, patience)


def _end(helper: SpawnProcess, patience: float) -> None:
    helper.join(patience)
    if helper.exitcode is None:
        helper.kill()
        helper.join()


def _help(config: RunConfig, place: Processes, environment: dict[str, str]) -> None:
    """The whole life of a helper."""
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # Ctrl-C reaches it too, and the first process says what there is to say
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.clear()
    os.environ.update(environment | as_environment(place))
    from mipo_bench.harness.run_cli import run

    raise SystemExit(run(config, dry_run=False))


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
