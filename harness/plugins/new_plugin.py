"""Writes the files of `mipo-bench new-baseline` and `new-recipe`: a complete small plugin, and its tests beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mipo_bench.harness.plugins.scaffold import check_name, class_name, file_stem, write_files


@dataclass(frozen=True, slots=True)
class WrittenPlugin:
    """The paths of the written files."""

    file: Path
    test: Path


def write_plugin(of: Literal["baseline", "recipe"], name: str, kind: str, folder: Path) -> WrittenPlugin:
    """Write the plugin from the skeleton of its kind, and its tests; a missing folder is created.

    Raises ConfigError if the name cannot be used or one of the files exists, and then writes nothing; StorageError if
    the files cannot be written.
    """
    check_name(of, name)
    file = f"{file_stem(name)}.py"
    written = WrittenPlugin(folder / file, folder / f"test_{file}")
    values = {"name": name, "file": file, "class_name": class_name(name, of), "kind": kind}
    write_files(folder, {written.file: f"{of}-{kind}.py.jinja", written.test: f"test_{of}.py.jinja"}, values)
    return written
