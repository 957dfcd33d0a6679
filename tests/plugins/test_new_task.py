"""Every skeleton of `new-task` is a task that passes `check-task`, and its tests pass unchanged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from golden_files import check_golden, run

from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.plugins.new_task import TaskKind, write_task
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.testing import failures

KINDS: tuple[TaskKind, ...] = get_args(TaskKind)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task of each kind."""
    made = tmp_path_factory.mktemp("tasks") / "new"
    for kind in KINDS:
        write_task(f"my-{kind}", kind, made)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_the_skeleton_passes_its_checks(folder: Path, kind: str) -> None:
    assert failures(f"my-{kind}", folder / f"my_{kind}.py") == []


@pytest.mark.slow
def test_the_tests_beside_the_skeletons_pass(folder: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=folder)
    assert done.returncode == 0, done.stdout
    assert "13 passed" in done.stdout


def test_the_skeletons_of_a_folder_are_loaded_together_and_their_tests_are_not(folder: Path) -> None:
    assert {f"my-{kind}" for kind in KINDS} <= set(load_plugins([folder]).tasks)


@pytest.mark.parametrize("name", ["item", "9.to-5", "Score", "A", "class", "for.each_one"])
def test_any_allowed_name_makes_a_task(tmp_path: Path, name: str) -> None:
    written = write_task(name, "math", tmp_path)
    assert load_plugins([written.task]).task(name).items("eval")


@pytest.mark.parametrize(
    ("name", "place"), [("json", "of Python itself"), ("numpy", "numpy/__init__.py"), ("mipo-bench", "mipo_bench")]
)
def test_a_name_that_would_hide_a_module_is_refused(name: str, place: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"would hide the Python module '{name.replace('-', '_')}' \(.*{place}"):
        write_task(name, "math", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_module_of_the_user_in_the_working_directory_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "word_sums.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert write_task("word-sums", "math", tmp_path / "tasks").task.is_file()


COMMANDS = {
    "new": "new-task word-sums --kind math",
    "new-judged": "new-task advice --kind judged",
    "new-elsewhere": "new-task wishes --out a/b",
    "stands-already": "new-task stands --kind choice",
    "test-stands-already": "new-task tested",
    "bad-name": "new-task ../up",
    "test-name": "new-task test_it",
    "installed": "new-task persona",
    "unwritable": "new-task mine --out stands.py/below",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_printed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("stands.py", "test_tested.py"):
        (tmp_path / file).write_text("mine")
    printed = run(COMMANDS[name], capsys)
    check_golden(f"new-task/{name}.txt", printed.text(COMMANDS[name]))
    assert (tmp_path / "stands.py").read_text() == "mine"
    if printed.code:
        assert sorted(file.name for file in tmp_path.iterdir()) == ["stands.py", "test_tested.py"]
