"""The built distributions contain every file that the package needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from paths import ROOT

pytestmark = pytest.mark.slow

COPIED = ("harness", "tasks", "baselines", "reports", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy, so that the checkout keeps no build folder."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in COPIED:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_every_source_and_the_model(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name.removeprefix("mipo_bench/") for name in archive.namelist() if name.startswith("mipo_bench/")}
    on_disk = {
        str(f.relative_to(ROOT))
        for part in ("harness", "tasks", "baselines", "reports")
        for f in (ROOT / part).rglob("*")
        if f.is_file() and "__pycache__" not in f.parts
    }
    assert inside == on_disk
    assert "harness/embedded/model/model.safetensors" in inside


def test_the_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "from mipo_bench.harness import cli\n"
        f"assert cli.__file__.startswith({str(site)!r}), cli.__file__\n"
        "cli.main(['run', '--limit', '3', '--recipes', 'none', '--set', 'threads=1'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mipo-bench-report" / "report.json").exists()
    assert "persona" in done.stdout
