"""`check-task` on task files: the second process, the printed page, and a large task's time."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from golden_files import check_golden, run

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.errors import PluginError
from mipo_bench.harness.generators.chat_template import render
from mipo_bench.harness.generators.model_folder import embedded_folder
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.plugin_checks.second_process import Asked, in_second_process
from mipo_bench.harness.testing import failures


def test_ten_thousand_items_load_and_render_within_five_seconds(tmp_path: Path) -> None:
    """The limit for a task of that size, in CPU seconds."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(embedded_folder())
    file = tmp_path / "many.py"
    file.write_text(MANY)
    begin = time.process_time()
    plan = make_plan(load_config(None, [], {"include": [file], "tasks": ["many"], "recipes": []}))
    (task,) = plan.tasks
    for item in task.items:
        assert item.prompt in render(tokenizer, plan.baselines["profile"].messages(item), item.context).text
    assert len(task.items) == 10_000
    assert time.process_time() - begin < 5


MANY = """
from mipo_bench.harness.types import Item
from mipo_bench.tasks.embedded.persona import Persona

class Many(Persona):
    name = "many"
    def items(self, split):
        return [self.one(split, n, n // 3) for n in range(10_000)]
    def one(self, split, n, user):
        return Item(f"{split}-{n}", f"Give advice, {split} {n}. " * 9, "x", f"{split}-{user}", f"Is user {user}. " * 9)

TASKS = [Many]
"""
FILE = """
from mipo_bench.tasks.embedded.arithmetic import Arithmetic

class Sums(Arithmetic):
    name = "sums"
    def items(self, split):
        return {items}

TASKS = [Sums]
"""
HASHED = "sorted(super().items(split), key=lambda item: hash(item.id))[:5]"


def write(path: Path, items: str) -> Path:
    path.write_text(FILE.format(items=items))
    return path


def test_items_that_depend_on_the_hash_of_strings_are_found_by_a_second_process(tmp_path: Path) -> None:
    found = failures("sums", write(tmp_path / "sums.py", HASHED))
    assert found
    assert all(line.startswith("processes: item") for line in found)


def test_a_second_process_that_fails_says_why(tmp_path: Path) -> None:
    file = write(tmp_path / "sums.py", "super().items(split)")
    assert in_second_process(Asked("task", "sums", [file]))["eval"][0][0] == "eval-0000"
    with pytest.raises(PluginError, match="unknown task 'gone'"):
        in_second_process(Asked("task", "gone", [file]))


COMMANDS = {
    "passes": ("check-task sums.py", "super().items(split)[:12]"),
    "fails": ("check-task sums.py", "[*super().items('eval')[:7], *super().items(split)[:7]]"),
    "unusable": ("check-task sums.py", "super().items(split)[0]"),
    "no-such-file": ("check-task ./sum.py", ""),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_printed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command, items = COMMANDS[name]
    write(tmp_path / "sums.py", items or "()")
    text = run(command, capsys).text(command)
    # the golden file does not depend on the number of baselines
    check_golden(f"check-task/{name}.txt", re.sub(r"\d+ prompts by .*", "N prompts by BASELINES", text))
    assert [file.name for file in tmp_path.iterdir()] == ["sums.py"]


def test_a_file_without_a_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "only.py"
    file.write_text(
        "from mipo_bench.baselines.prompting.plain import Plain\nclass P(Plain):\n    name = 'p'\nBASELINES = [P]\n"
    )
    printed = run(f"check-task {file}", capsys)
    assert printed.code == 2
    assert "announces no task" in printed.err
