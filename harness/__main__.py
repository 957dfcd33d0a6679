"""The command `mipo-bench`, also as `python -m mipo_bench.harness`: sets up the process, then runs the command line.

Nothing heavy is imported before Ctrl-C is handled, so that an early one ends the command without a traceback.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from types import FrameType
from typing import TextIO

_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit; `cli` lists the exit codes."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell may ignore it for a job in background
        signal.signal(signal.SIGINT, _stop)
    os.environ.setdefault(
        "PYDANTIC_DISABLE_PLUGINS", "__all__"
    )  # none is of use here; finding them reads every package
    sys.stdout, sys.stderr = _until_closed(sys.stdout), _until_closed(sys.stderr)
    from mipo_bench.harness.cli import main as run_command_line

    try:
        run_command_line()
    finally:
        _flush()
        gc.freeze()  # else the end of the process looks at every object of torch once more: it takes a second


def _flush() -> None:
    """Write out what is left. Where that is refused (a full disk), say so and exit with 2."""
    try:
        sys.stdout.flush()
    except OSError as error:
        sys.stderr.write(f"mipo-bench: the output cannot be written: {error}.\n")
        sys.exit(2)


def _stop(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
    """Raise KeyboardInterrupt; during an import, end the process at once.

    Libraries turn a KeyboardInterrupt during their import into other errors, and Python itself may drop one there.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(_INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


class _UntilClosed(io.FileIO):
    """A pipe or file for output. A write after the reader has closed the pipe (`| head -1`) counts as done.

    An error is raised once: later writes, such as that of the buffer at exit, count as done too.
    """

    _refused = False

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write bytes and return their number."""
        if self._refused:
            return len(data)
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)
        except OSError:
            self._refused = True
            raise


def _until_closed(stream: TextIO | None) -> TextIO:
    """The stream, of which a closed reader stops nothing: a run goes on and stores its results."""
    if stream is None:  # closed by the shell (`>&-`)
        return open(os.devnull, "w", encoding="utf-8")
    raw: io.RawIOBase = _UntilClosed(stream.fileno(), "w", closefd=False)
    lines = bool(stream.line_buffering)
    return io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=lines)


if __name__ == "__main__":
    main()
