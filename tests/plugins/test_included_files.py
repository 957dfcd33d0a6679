"""Plugins from files that are installed nowhere: loaded whole or refused with the reason."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from golden_files import check_golden, run

from mipo_bench.harness.commands.list import print_plugins
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ConfigError, PluginError
from mipo_bench.harness.evaluation.scoring import describe_task
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.plugins.registry import Plugins, load_plugins

TASK = """
from mipo_bench.tasks.embedded.arithmetic import Arithmetic

class Sums(Arithmetic):
    name = "{name}"
    default = {default}

TASKS = [Sums]
"""
FAMILY = """
from mipo_bench.tasks.embedded.arithmetic import Arithmetic

class Member(Arithmetic):
    def __init__(self, rest):
        self.name = {name}
        self.version = int(rest)

def version(rest):
    return Member(rest)

TASK_FAMILIES = {{"sums": version}}
"""
BASELINE = """
from mipo_bench.baselines.prompting.plain import Plain
from mipo_bench.baselines.recipes.mipo_random import MipoRandom

class Loud(Plain):
    name = "loud"

class Other(MipoRandom):
    name = "other"

BASELINES = [Loud]
RECIPES = (Other,)
"""


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def task_file(path: Path, name: str = "sums", *, default: bool = True) -> Path:
    return write(path, TASK.format(name=name, default=default))


def config(*include: Path, **options: object) -> RunConfig:
    return load_config(None, [], {"include": list(include), **options})


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


BROKEN: dict[str, tuple[str | bytes, str]] = {
    "syntax.py": ("x = (\n", r"cannot be imported: SyntaxError: .* \(syntax.py, line 1\)"),
    "import.py": ("\nimport no_such_module", r"No module named 'no_such_module' \(import.py, line 2\)"),
    "deep.py": ("def f():\n    return 1 / 0\n\nf()", r"ZeroDivisionError: division by zero \(deep.py, line 2\)"),
    "exit.py": ("import sys\nsys.exit(0)", r"SystemExit: sys.exit\(0\) was called \(exit.py, line 2\)"),
    "bytes.py": (b"# \xff\xfe\nx = 1", "cannot be imported: SyntaxError"),
    "null.py": (b"x = 1\x00", "cannot be imported: SyntaxError"),
    "nothing.py": ("x = 1", r"announces no plugin: end it with TASKS = \[MyTask\]"),
    "empty.py": ("TASKS = []", "announces no plugin"),
    "single.py": ("class A: pass\nTASKS = A", r"TASKS is a type: write TASKS = \[MyTask\]"),
    "instance.py": (
        TASK.format(name="x", default=True).replace("[Sums]", "[Sums()]"),
        "announce the class or function",
    ),
    "collides.py": (
        TASK.format(name="facts", default=True),
        "two task plugins are called 'facts': .* Rename or remove",
    ),
    "raises.py": (
        "class A:\n    def __init__(self):\n        self.__init__()\nTASKS = [A]",
        r"'A' of .*raises.py \(TASKS\[0\]\) cannot be built: RecursionError: .* \(raises.py, line 3\)",
    ),
    "bell.py": ("raise RuntimeError('a\\x07\\x1b[2Jb')", r"RuntimeError: a\\x07\\x1b\[2Jb \(bell.py, line 1\)"),
    "family.py": ("TASK_FAMILIES = {'a b': print}", "name 'a b' is not allowed"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_with_the_reason(tmp_path: Path, name: str) -> None:
    text, reason = BROKEN[name]
    before = set(sys.modules)
    with pytest.raises(PluginError, match=reason) as caught:
        load_plugins([write(tmp_path / name, text)])
    assert str(tmp_path / name) in str(caught.value)
    if "cannot be imported" in str(caught.value):
        assert not [m for m in set(sys.modules) - before if "included" in m]


def test_all_problems_of_all_files_at_once(tmp_path: Path) -> None:
    files = [write(tmp_path / name, text) for name, (text, _) in BROKEN.items()]
    with pytest.raises(PluginError) as caught:
        load_plugins([*files, tmp_path / "absent.py"])
    message = str(caught.value)
    assert all(str(file) in message for file in files)
    assert f"no such file or folder: {tmp_path / 'absent.py'}" in message
    assert len(message.splitlines()) == len(BROKEN) + 1


def test_what_is_printed_of_broken_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("import.py", "deep.py", "exit.py", "nothing.py", "single.py", "collides.py", "family.py"):
        write(Path("broken") / name, BROKEN[name][0])
    write(Path("broken/shape.py"), "class Empty:\n    name = 'a/b'\n\nBASELINES = [Empty]\nRECIPES = [Empty, 3]\n")
    for command in ("list --include broken", "run --include broken --dry-run"):
        text = run(command, capsys).text("COMMAND").replace(f" {version('mipo-bench')} ", " VERSION ")
        check_golden("list/broken.txt", text)


def test_paths_that_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "tests" / "test_it.py", "")
    write(tmp_path / "notes.txt", "")
    os.mkfifo(tmp_path / "pipe.py")
    for name, reason in (
        ("empty", "holds no .py file"),
        ("notes.txt", "is not a Python file"),
        ("gone", "no such file"),
        ("pipe.py", "is not a regular file"),
    ):
        with pytest.raises(ConfigError, match=f"include.0 = '.*{name}'.*{reason}"):
            config(tmp_path / name)
    with pytest.raises(PluginError, match="holds no plugin file"):
        make_plan(config(tmp_path / "tests"))


@pytest.mark.parametrize("command", ["list", "run --dry-run", "check-task facts", "diff"])
def test_an_empty_path_is_not_the_working_directory(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("here.py"), "raise SystemExit('loaded')")
    printed = run(f"{command} --include ''", capsys)
    assert printed.code == 2
    assert "write the path of a file or folder" in printed.err
    with pytest.raises(ConfigError, match="write the path of a file or folder"):
        load_config(None, ["include=''"], {})


def test_a_folder_that_is_called_like_a_task_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("facts/here.py"), "raise SystemExit('loaded')")
    write(Path("json.py"), "raise SystemExit('loaded')")
    assert run("check-task facts", capsys).code == 0
    assert "sys.exit('loaded') was called" in run("check-task ./facts", capsys).err


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
