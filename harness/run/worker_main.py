"""Entry point of a worker process, which shares the work of one run."""

from __future__ import annotations

import gc
import json
import os
import sys
import threading

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.progress import SilentDisplay
from mipo_bench.harness.run.environment import silence_libraries
from mipo_bench.harness.run.interrupt import ctrl_c_stops
from mipo_bench.harness.run.session import execute, prepare


def config_from_line(line: bytes) -> RunConfig:
    """Parse the configuration that `config_to_line` wrote."""
    return RunConfig.model_validate(json.loads(line))


def main() -> None:
    """Compute the arms that no other process computes, then exit."""
    config = config_from_line(sys.stdin.buffer.readline())
    threading.Thread(target=_exit_with_first_process, daemon=True).start()
    silence_libraries()
    with ctrl_c_stops():
        execute(prepare(config), SilentDisplay())
    gc.freeze()  # else the end of the process looks at every object of torch once more, and the first process waits


def _exit_with_first_process() -> None:
    """Wait until the first process closes this process's standard input, by its end at the latest; then exit."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main()
