"""Fingerprints a plugin in a second process, with other string hashes, to find what differs between processes.

Run as a module, it writes the fingerprints to a file: RESULT ASKED, where ASKED is the content of an `Asked` as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mipo_bench.harness.errors import PluginError
from mipo_bench.harness.plugin_checks import baseline, items, recipe
from mipo_bench.harness.plugin_checks.items import Fingerprints
from mipo_bench.harness.plugins.protocol_checks import PluginKind
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.plugins.task_data import on_data

TIMEOUT = 300
"""Time limit of the second process in seconds."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The plugin to fingerprint: its kind and name, and the included files.

    `tasks` are those of a baseline or recipe. `data` has the folders of `--data` by task.
    """

    kind: PluginKind
    name: str
    include: Sequence[Path] = ()
    tasks: Sequence[str] = ()
    data: Mapping[str, Path] = field(default_factory=dict)


def in_second_process(asked: Asked) -> dict[str, Fingerprints]:
    """The fingerprints by split (of a task), or by task.

    Raises PluginError if the process fails or takes longer than `TIMEOUT`.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        text = json.dumps(asdict(asked), default=str)
        command = [sys.executable, "-P", "-m", "mipo_bench.harness.plugin_checks.second_process", str(result), text]
        environment = os.environ | {"PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"}
        try:
            done = subprocess.run(  # noqa: S603 - our own module, with names that the user gave
                command, env=environment, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise PluginError(f"it takes longer than {TIMEOUT} s") from error
        if done.returncode or not result.exists():
            raise PluginError(f"exit code {done.returncode}: {' '.join(done.stderr.split())[-300:] or 'no message'}")
        rows = json.loads(result.read_text())
        return {key: [(name, found) for name, found in pairs] for key, pairs in rows.items()}


def _fingerprints(asked: Asked) -> dict[str, Fingerprints]:
    plugins = load_plugins(asked.include)
    if asked.kind == "task":
        return items.fingerprints(on_data(plugins.task(asked.name), asked.data))
    tasks = [on_data(plugins.task(name), asked.data) for name in asked.tasks]
    if asked.kind == "baseline":
        return baseline.fingerprints(plugins.baseline(asked.name), tasks)
    return recipe.fingerprints(plugins.recipe(asked.name), tasks, plugins)


def _main(result: str, text: str) -> None:
    asked = json.loads(text)
    include = [Path(path) for path in asked["include"]]
    data = {task: Path(folder) for task, folder in asked["data"].items()}
    found = _fingerprints(Asked(asked["kind"], asked["name"], include, asked["tasks"], data))
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    _main(*sys.argv[1:])
