"""A real plugin package, installed with pip as a user installs one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import EXAMPLE_PLUGIN

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with the example installed; built from a copy, so that the sources stay clean."""
    source, target = tmp_path_factory.mktemp("source") / "example", tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE_PLUGIN, source, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(source)], check=True, capture_output=True, timeout=120)
    return target


def mipo(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(site), "COLUMNS": "200", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "mipo_bench.harness.cli", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_what_the_package_announces_is_listed(site: Path, tmp_path: Path) -> None:
    done = mipo(site, tmp_path, "list", "--verbose")
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "greetings personalized: Greet users in their language; the greeting found by rule." in lines
    assert "reminder The request, and the user's profile after it." in lines
    assert "mipo-neighbour MIPO: rejected response under the next user's context." in lines
    at = lines.index("greetings personalized: Greet users in their language; the greeting found by rule.")
    assert lines[at + 1 : at + 6] == [
        "version 1, scored by rule",
        "meant for: any model",
        "data: written for this package, included",
        "licence: CC0-1.0",
        "from: mipo-bench-example 1.2.3 (mipo_bench_example.greetings:Greetings)",
    ]


def test_the_plan_has_its_task_baseline_and_recipe(site: Path, tmp_path: Path) -> None:
    done = mipo(
        site, tmp_path, "run", "--task", "greetings", "--recipes", "mipo-neighbour", "--seeds", "2", "--dry-run"
    )
    assert done.returncode == 0, done.stderr
    assert "greetings: 6 items, 8 training items" in done.stdout
    assert "reminder" in done.stdout
    assert "mipo-neighbour x 2 seeds" in done.stdout
    assert not list(tmp_path.iterdir())


def test_its_task_proves_itself(site: Path, tmp_path: Path) -> None:
    done = mipo(site, tmp_path, "check-task", "greetings")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "greetings: all checks passed." in done.stdout


def test_the_same_package_included_from_its_sources_collides_by_name(site: Path, tmp_path: Path) -> None:
    file = tmp_path / "again.py"
    file.write_text((EXAMPLE_PLUGIN / "mipo_bench_example" / "greetings.py").read_text() + "\n\nTASKS = [Greetings]\n")
    assert mipo(tmp_path, tmp_path, "check-task", "again.py").returncode == 0
    done = mipo(site, tmp_path, "list", "--include", "again.py")
    assert done.returncode == 2
    assert "two task plugins are called 'greetings': task plugin 'greetings' of mipo-bench-example 1.2.3" in done.stderr
    assert "again.py (TASKS[0])" in done.stderr


def test_a_broken_package_is_named_and_nothing_is_skipped(site: Path, tmp_path: Path) -> None:
    broken = tmp_path / "site"
    shutil.copytree(site, broken)
    (broken / "mipo_bench_example" / "reminder.py").write_text("import no_such_module\n")
    (broken / "mipo_bench_example" / "neighbour.py").write_text("class MipoNeighbour:\n    name = 'x'\n")
    done = mipo(broken, tmp_path, "list")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "mipo-bench: baseline plugin 'reminder' of mipo-bench-example 1.2.3 (mipo_bench_example.reminder:Reminder) "
        "cannot be imported: ModuleNotFoundError: No module named 'no_such_module' (reminder.py, line 1)",
        "mipo-bench: recipe plugin 'mipo-neighbour' of mipo-bench-example 1.2.3 "
        "(mipo_bench_example.neighbour:MipoNeighbour) is not a recipe: attribute 'description' (str) is missing; "
        "method 'applies' is missing; method 'contrasts' is missing.",
    ]
