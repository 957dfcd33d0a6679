"""Every skeleton of `new-task` is a task that passes `check-task`, and its tests pass unchanged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from golden_files import check_golden, run
from made_judges import blocks
from openai_server import Reply, chat_reply, scripted

from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.plugins.new_task import TaskKind, write_task
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.testing import failures, load_task

KINDS: tuple[TaskKind, ...] = get_args(TaskKind)
OWN = [kind for kind in KINDS if kind != "lm-eval"]
"""The kinds that are Python files of mipo-bench. The checks of the other one are in the tests beside its skeleton."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task of each kind."""
    made = tmp_path_factory.mktemp("tasks") / "new"
    for kind in KINDS:
        write_task(f"my-{kind}", kind, made)
    return made


@pytest.mark.parametrize("kind", OWN)
def test_the_skeleton_passes_its_checks(folder: Path, kind: str) -> None:
    assert failures(f"my-{kind}", folder / f"my_{kind}.py") == []


@pytest.mark.slow
def test_the_tests_beside_the_skeletons_pass(folder: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=folder)
    assert done.returncode == 0, done.stdout
    assert "17 passed" in done.stdout


def test_a_judge_is_held_against_the_labels_of_the_judged_skeleton(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "my_judged.py"
    task = load_task("my-judged", file)
    preferred = {task.gold(item) for item in task.items("eval")}

    def judge(body: dict[str, Any], _: int) -> Reply:
        first = blocks("\n".join(m["content"] for m in body["messages"]))["first response"]
        return chat_reply(f"Verdict: {'first' if first in preferred else 'second'}")

    monkeypatch.chdir(tmp_path)
    with scripted(judge) as server:
        done = run(f"check-judge --include {file} --task my-judged --judge openai:script@{server.url}", capsys)
    assert done.code == 0, done.out + done.err
    assert "The judge agrees with the labels better than chance would." in done.out


def test_the_skeletons_of_a_folder_are_loaded_together_and_their_tests_are_not(folder: Path) -> None:
    assert {f"my-{kind}" for kind in OWN} <= set(load_plugins([folder]).tasks)


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
    "new-lm-eval": "new-task 9.to-5 --kind lm-eval",
    "new-elsewhere": "new-task wishes --out 'a/b c'",
    "stands-already": "new-task stands --kind choice",
    "test-stands-already": "new-task tested",
    "file-stands-already": "new-task held --kind lm-eval",
    "bad-name": "new-task ../up",
    "test-name": "new-task test_it",
    "installed": "new-task persona",
    "unwritable": "new-task mine --out stands.py/below",
}
STANDING = {"stands.py", "test_tested.py", "held/test.jsonl"}
"""Files of the user, which a command must leave as they are."""


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_printed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "held").mkdir()
    for file in STANDING:
        (tmp_path / file).write_text("mine")
    printed = run(COMMANDS[name], capsys)
    check_golden(f"new-task/{name}.txt", printed.text(COMMANDS[name]))
    assert {(tmp_path / file).read_text() for file in STANDING} == {"mine"}
    if printed.code:
        assert {str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*") if f.is_file()} == STANDING
