"""Reads the items of a task in a second process, with other string hashes, to find items that differ between processes.

Run as a module, it writes the fingerprints of a task to a file: TASK RESULT DATA [INCLUDE ...], DATA empty for none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.errors import NoTrainingError, PluginError
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.plugins.task_data import EVERY, on_data
from mipo_bench.harness.types import Item, Task

TIMEOUT = 300
"""Time limit of the second process in seconds."""
Fingerprints = list[tuple[str, str]]
"""(item id, digest of the item's content) for each item, in order."""


def fingerprints(task: Task) -> dict[str, Fingerprints]:
    """Split -> fingerprint of each item. A data set may lack the split to train on."""
    try:
        training = task.items("train")
    except NoTrainingError:
        training = ()
    splits = {"train": training, "eval": task.items("eval")}
    return {split: [(item.id, _digest(item)) for item in items] for split, items in splits.items()}


def in_second_process(task: str, include: Sequence[Path], data: Path | None = None) -> dict[str, Fingerprints]:
    """Split -> fingerprints in another process, with the task on the folder `data` if given.

    Raises PluginError if the process fails or takes longer than `TIMEOUT`.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        where = str(data or "")
        command = [
            sys.executable,
            "-P",
            "-m",
            "mipo_bench.harness.plugins.second_process",
            task,
            str(result),
            where,
            *map(str, include),
        ]
        environment = os.environ | {"PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"}
        try:
            done = subprocess.run(  # noqa: S603 - our own module, with names that the user gave
                command, env=environment, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise PluginError(f"reading the items takes longer than {TIMEOUT} s") from error
        if done.returncode or not result.exists():
            raise PluginError(f"exit code {done.returncode}: {' '.join(done.stderr.split())[-300:] or 'no message'}")
        return {
            split: [(name, found) for name, found in rows] for split, rows in json.loads(result.read_text()).items()
        }


def _digest(item: Item) -> str:
    return digest([repr(item)])[:16]


def _main(task: str, result: str, data: str, *include: str) -> None:
    plugin = load_plugins([Path(path) for path in include]).task(task)
    found = fingerprints(on_data(plugin, {EVERY: Path(data)} if data else {}))
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    _main(*sys.argv[1:])
