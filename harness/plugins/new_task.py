"""Writes the files of `mipo-bench new-task`: a complete small task, and its tests beside it.

A task of lm-eval is a folder, as lm-eval's own are: a definition in YAML, its functions, and its documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mipo_bench.harness.plugins.scaffold import check_name, class_name, file_stem, write_files

TaskKind = Literal["personalized", "math", "choice", "judged", "lm-eval"]


@dataclass(frozen=True, slots=True)
class WrittenFiles:
    """The paths of the written files; `others` are those that the task reads."""

    task: Path
    test: Path
    others: tuple[Path, ...] = ()


def write_task(name: str, kind: TaskKind, folder: Path) -> WrittenFiles:
    """Write the task and its tests; a missing folder is created.

    Raises ConfigError if the name cannot be used or one of the files exists, and then writes nothing; StorageError if
    the files cannot be written.
    """
    check_name("task", name)
    stem = file_stem(name)
    skeletons = {folder / file: skeleton for file, skeleton in _skeletons(stem, kind).items()}
    task, test, *others = skeletons
    values = {"name": name, "file": task.name, "folder": stem, "class_name": class_name(name, "task"), "kind": kind}
    write_files(folder, skeletons, values)
    return WrittenFiles(task, test, tuple(others))


def _skeletons(stem: str, kind: TaskKind) -> dict[str, str]:
    """File -> its skeleton: the task, its tests, and the files that the task reads."""
    if kind != "lm-eval":
        return {f"{stem}.py": f"{kind}.py.jinja", f"test_{stem}.py": "test_task.py.jinja"}
    return {
        f"{stem}/{stem}.yaml": "lm-eval.yaml.jinja",
        f"{stem}/test_{stem}.py": "test_lm-eval.py.jinja",
        f"{stem}/utils.py": "lm-eval-utils.py.jinja",
        **{f"{stem}/{split}.jsonl": "lm-eval-documents.jsonl.jinja" for split in ("train", "test")},
    }
