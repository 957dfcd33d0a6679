"""`accelerate launch` in a process of its own, which says besides which process of the training was killed."""

from __future__ import annotations

import signal
import sys

from accelerate.commands.launch import launch_command, launch_command_parser
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from mipo_bench.harness.training.distributed.events import Killed, send

_SECONDS = 5
"""Processes that end later than this after the first one were ended by accelerate."""
_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS}
"""Signals that no process gets because another one has failed."""


def main() -> None:
    """Launch as the arguments say; they are those of `accelerate launch`."""
    try:
        launch_command(launch_command_parser().parse_args())
    except ChildFailedError as error:
        _, first = error.get_first_failure()
        for rank, failure in error.failures.items():
            if -failure.exitcode in _FROM_OUTSIDE and failure.timestamp <= first.timestamp + _SECONDS:
                send(Killed(rank, signal.Signals(-failure.exitcode).name), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
