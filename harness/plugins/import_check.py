"""Imports the plugins in a second process, to name one that ends, crashes or stops its process when it is imported.

Such a plugin would end the command without a message. Run as a module, it writes to a file which plugin it loads: FILE
[INCLUDE ...].
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mipo_bench.harness.core.text import on_one_line
from mipo_bench.harness.errors import PluginError, UserError
from mipo_bench.harness.plugins.registry import load_plugins

TIMEOUT = 120.0
"""Seconds in which all plugins must be imported."""
_DONE = "done"
_QUOTED = 200
"""Characters of the last output that a message quotes."""


def check_imports(include: Sequence[Path], seconds: float = TIMEOUT) -> None:
    """Raise PluginError that names a plugin, installed or in `include`, with which the second process does not finish.

    A plugin that raises an error is left to `load_plugins`, which reports all of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        loading, output = Path(folder) / "loading", Path(folder) / "output"
        loading.touch()
        command = [sys.executable, "-P", "-m", "mipo_bench.harness.plugins.import_check", str(loading)]
        try:
            with output.open("wb") as out:
                done = subprocess.run(  # noqa: S603 - our own module, with paths that the user gave
                    [*command, *map(str, include)],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    timeout=seconds,
                    check=False,
                )
            ended = f"ends the process that imports it, with {_status(done.returncode)}"
        except subprocess.TimeoutExpired:
            ended = f"is not imported within {seconds:g} s"
        plugin = loading.read_text(encoding="utf-8")
        if plugin != _DONE:
            last = on_one_line(output.read_text(encoding="utf-8", errors="replace"))[-_QUOTED:]
            said = f" Its last output: {last}" if last else ""
            raise PluginError(f"{plugin or 'the import of plugins'} {ended}. Repair or remove it.{said}")


def _status(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"signal {-code}"


def _main(file: Path, include: Sequence[Path]) -> None:
    def write(text: str) -> None:
        file.write_text(text, encoding="utf-8")

    try:
        load_plugins(include, write)
    except UserError as error:
        sys.stderr.write(f"{error}\n")  # the first process will meet it too
    write(_DONE)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), [Path(path) for path in sys.argv[2:]])
