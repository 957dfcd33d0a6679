"""Plugins from files that are installed nowhere: tasks, baselines, recipes and families."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from golden_files import check_golden
from task_files import BASELINE, FAMILY, TASK, config, task_file, write

from mipo_bench.harness.commands.list import print_plugins
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.errors import ConfigError, PluginError
from mipo_bench.harness.evaluation.scoring import describe_task
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.plugins.registry import Plugins, load_plugins


def test_tasks_baselines_and_recipes_of_a_file(tmp_path: Path) -> None:
    plan = make_plan(config(task_file(tmp_path / "a.py"), write(tmp_path / "b.py", BASELINE), tasks=["sums"]))
    assert {a.method for a in plan.arms} >= {"plain", "loud", "mipo-random", "other"}
    assert {a.task for a in plan.arms} == {"sums"}


def test_an_included_task_belongs_to_its_suite_unless_it_says_otherwise(tmp_path: Path) -> None:
    always, named = task_file(tmp_path / "a.py"), task_file(tmp_path / "b.py", "named", default=False)
    assert [t.task.name for t in make_plan(config(always, named, suite="math")).tasks] == ["arithmetic", "sums"]
    assert [t.task.name for t in make_plan(config(always, named, tasks=["named"])).tasks] == ["named"]


def test_every_file_of_a_folder_but_helpers_and_tests(tmp_path: Path) -> None:
    write(tmp_path / "_words.py", "NAME = 'from-helper'")
    task_file(tmp_path / "one.py")
    text = TASK.format(name="x", default=True).replace('"x"', "NAME")
    write(tmp_path / "two.py", f"from ._words import NAME{text}")
    for name in ("test_one.py", "conftest.py"):
        write(tmp_path / name, "raise RuntimeError")
    write(tmp_path / "deeper" / "three.py", "raise RuntimeError")
    plugins = load_plugins([tmp_path])
    assert {"sums", "from-helper"} <= set(plugins.tasks)
    assert plugins.origins["task", "sums"].label == str(tmp_path / "one.py")


def test_a_package_is_one_plugin_file(tmp_path: Path) -> None:
    write(tmp_path / "pack" / "__init__.py", "from .inner import Sums\nTASKS = [Sums]")
    task_file(tmp_path / "pack" / "inner.py")
    assert "sums" in load_plugins([tmp_path / "pack"]).tasks
    assert sorted(file.name for file in (tmp_path / "pack").iterdir()) == ["__init__.py", "inner.py"]
    write(tmp_path / "pack" / "inner.py", "x = 1\nimport no_such_module")
    with pytest.raises(PluginError, match=r"No module named 'no_such_module' \(inner.py, line 2\)"):
        load_plugins([tmp_path / "pack"])


def test_the_same_file_twice_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = task_file(tmp_path / "a.py")
    monkeypatch.chdir(tmp_path)
    assert "sums" in load_plugins([file, Path("a.py")]).tasks


def test_a_changed_file_is_loaded_anew_and_the_old_one_stays_whole(tmp_path: Path) -> None:
    file = task_file(tmp_path / "a.py", "first")
    before = load_plugins([file]).tasks["first"]
    task_file(file, "other")
    assert "first" not in load_plugins([file]).tasks
    assert before.name == "first"
    assert not (tmp_path / "__pycache__").exists()


def test_a_dataclass_with_postponed_annotations(tmp_path: Path) -> None:
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass X:\n    a: int\n"
    assert "sums" in load_plugins([write(tmp_path / "a.py", text + TASK.format(name="sums", default=True))]).tasks


def test_a_family_makes_its_members(tmp_path: Path) -> None:
    file = write(tmp_path / "a.py", FAMILY.format(name="f'sums:{rest}'"))
    plan = make_plan(config(file, tasks=["sums:7"], reference={"sums:7": "few-shot"}))
    assert [(t.task.name, t.task.version, t.reference) for t in plan.tasks] == [("sums:7", 7, "few-shot")]
    assert not any(":" in t.task.name for t in make_plan(config(file)).tasks)
    with pytest.raises(ConfigError, match=r"unknown task 'sum:7'\. Did you mean 'sums:7'\?"):
        make_plan(config(file, tasks=["sum:7"]))
    with pytest.raises(PluginError, match=r"task 'sums:x' of family 'sums' .* cannot be made: ValueError"):
        make_plan(config(file, tasks=["sums:x"]))


@pytest.mark.parametrize("name", ["'else'", "'sums:a/b'", "3"])
def test_a_member_is_named_after_its_family(tmp_path: Path, name: str) -> None:
    plugins = load_plugins([write(tmp_path / "a.py", FAMILY.format(name=name))])
    with pytest.raises(PluginError, match=r"task 'sums:1' of family 'sums' .* is not a task: name"):
        plugins.task("sums:1")


def test_reports_know_files_by_name_and_content(tmp_path: Path) -> None:
    here, there = task_file(tmp_path / "a" / "x.py"), task_file(tmp_path / "b" / "x.py")
    assert config(here).result_hash() == config(there).result_hash() != config().result_hash()
    assert str(tmp_path) not in config(here).model_dump_json(include={"include"})
    before = config(here).result_hash()
    task_file(here, "renamed")
    assert config(here).result_hash() != before


def test_a_configuration_file_may_include(tmp_path: Path) -> None:
    file = task_file(tmp_path / "a.py")
    settings = write(tmp_path / "run.yaml", f"include: {file}\ntasks: [sums]\n")
    assert [t.task.name for t in make_plan(load_config(settings, [], {})).tasks] == ["sums"]
    with pytest.raises(ConfigError, match="write the path of a file or folder"):
        load_config(None, ["include=[{path: a.py, digest: mine}]"], {})


def test_what_the_list_says_of_each_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines on included plugins alone, because the installed ones change."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    task_file(Path("a.py"))
    text = TASK.format(name="named", default=False) + "Sums.licence = 'CC-BY-4.0'\nSums.source = 'owner/data@abc'\n"
    write(Path("b.py"), text + "Sums.uses_data = True\nSums.rubric = lambda self, item: ''")
    write(Path("c.py"), BASELINE)
    write(Path("d.py"), FAMILY.format(name="''"))
    plugins = load_plugins([Path(f"{name}.py") for name in "abcd"])
    ours = {key: origin for key, origin in plugins.origins.items() if origin.label.endswith(".py")}
    shown = Plugins(
        {name: task for name, task in plugins.tasks.items() if ("task", name) in ours},
        {name: baseline for name, baseline in plugins.baselines.items() if ("baseline", name) in ours},
        {name: recipe for name, recipe in plugins.recipes.items() if ("recipe", name) in ours},
        {name: family for name, family in plugins.families.items() if ("family", name) in ours},
        ours,
    )
    for verbose in (False, True):
        print_plugins(shown, verbose=verbose)
        check_golden(f"list/{'verbose' if verbose else 'short'}.txt", capsys.readouterr().out)


@pytest.mark.slow
def test_the_list_command_shows_included_files_and_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom mipo_bench.harness.cli import main\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "list", "--verbose", "--include", str(task_file(tmp_path / "a.py"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "300"})
    assert done.returncode == 0, done.stderr
    assert f"from: {tmp_path / 'a.py'} (TASKS[0])" in done.stdout
    assert "licence: MIT, of the package" in done.stdout
    assert done.stdout.endswith("False\n")


def test_the_scorer_hash_follows_the_file_and_not_its_place(tmp_path: Path) -> None:
    def scorer(file: Path) -> str:
        task = load_plugins([file]).tasks["sums"]
        return describe_task(task, "plain", task.items("eval")[:1]).scorer_hash

    one, two = task_file(tmp_path / "a" / "x.py"), task_file(tmp_path / "b" / "x.py")
    assert scorer(one) == scorer(two)
    task = load_plugins([two]).tasks["sums"]
    write(two, two.read_text() + "CHANGED = True\n")
    assert describe_task(task, "plain", ()).scorer_hash == scorer(one)  # the loaded text scores
    assert scorer(one) != scorer(two)


def test_the_scorer_hash_follows_everything_in_the_folder_that_the_task_draws_on(tmp_path: Path) -> None:
    def scorer() -> str:
        return describe_task(load_plugins([folder]).tasks["sums"], "plain", ()).scorer_hash

    folder = tmp_path / "a"
    write(folder / "_words.py", "from . import _deeper\nNAME = _deeper.NAME")
    write(folder / "_deeper.py", "NAME = 'sums'")
    text = TASK.format(name="x", default=True).replace('"x"', "NAME")
    write(folder / "task.py", f"from ._words import NAME{text}")
    task_file(folder / "other.py", "other")
    before = scorer()
    task_file(folder / "other.py", "another")
    assert scorer() == before
    write(folder / "_deeper.py", "NAME = 'su' + 'ms'  # the same name by other code")
    assert scorer() != before
