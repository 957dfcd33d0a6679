"""Plugin files that are broken or absent are refused with their name and the reason."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from golden_files import check_golden, run
from task_files import TASK, config, task_file, write

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.errors import ConfigError, PluginError
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.plugins.import_check import check_imports
from mipo_bench.harness.plugins.registry import load_plugins

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
    "panic.py": (
        "class Panic(BaseException): pass\nraise Panic('lost')",
        r"imported: Panic: lost \(panic.py, line 2\)",
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


ENDING: dict[str, tuple[str, str]] = {
    "leaves.py": ("import os\nprint('bye', flush=True)\nos._exit(0)", r"with exit status 0\. .*Its last output: bye"),
    "fails.py": ("import os\nos._exit(7)", r"with exit status 7\."),
    "crashes.py": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", r"with signal SIGSEGV\."),
    "builds.py": (
        "import os\nclass A:\n    def __init__(self):\n        os._exit(3)\nTASKS = [A]",
        r"with exit status 3\.",
    ),
}


@pytest.mark.parametrize("name", ENDING)
def test_a_plugin_that_ends_its_process_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text, reason = ENDING[name]
    write(Path("plugins") / name, text)
    task_file(Path("plugins/a_sound.py"))
    task_file(Path("plugins/z_sound.py"), "others")
    told = rf"plugins/{name}( \(TASKS\[0\]\))? ends the process that imports it, {reason}"
    for command in ("check-task ./plugins", "check-task facts --include plugins", "run --include plugins --dry-run"):
        done = run(command, capsys)
        assert (done.code, bool(re.search(told, done.err))) == (2, True), done.err
    done = run("doctor --include plugins --task sums", capsys)
    assert (done.code, bool(re.search(told, " ".join(done.out.split())))) == (1, True), done.out


def test_a_plugin_that_is_not_imported_in_time_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "sleeps.py", "import time\ntime.sleep(60)")
    with pytest.raises(PluginError, match=rf"{file} is not imported within 3 s"):
        check_imports([file], seconds=3)


def test_plugins_that_raise_are_left_to_their_own_message(tmp_path: Path) -> None:
    files = [write(tmp_path / name, text) for name, (text, _) in BROKEN.items()]
    check_imports([*files, task_file(tmp_path / "sound.py")])
