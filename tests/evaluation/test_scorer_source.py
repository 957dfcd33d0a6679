"""The hash of a scorer depends on its code, in every module of the plugin, and on nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from mipo_bench.harness.evaluation.scorer_source import code_of, scorer_code
from mipo_bench.harness.types import Task

TASK = """
from mipo_bench.tasks.embedded.arithmetic import Arithmetic
from a_plugin.scoring import grade

class Sums(Arithmetic):
    def score(self, item, response):
        return grade(item, response)
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A plugin whose task and scorer are in sibling packages."""
    folder = tmp_path / "a_plugin"
    for name, text in (("tasks/sums.py", TASK), ("scoring/rules.py", "EXACT = True\n")):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
    (folder / "scoring" / "__init__.py").write_text("from .rules import EXACT\ngrade = lambda item, response: EXACT\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "a_plugin"]:
        del sys.modules[name]


def loaded() -> Task:
    task: Task = import_module("a_plugin.tasks.sums").Sums()
    return task


def test_a_sibling_package_is_part_of_a_scorer(plugin: Path) -> None:
    before = scorer_code(loaded())
    assert len(before) == 3
    (plugin / "scoring" / "rules.py").write_text("EXACT = False\n")
    assert scorer_code(loaded()) != before


def test_the_place_of_a_module_is_no_part_of_a_scorer(plugin: Path) -> None:
    before = scorer_code(loaded())
    (plugin / "scoring" / "rules.py").rename(plugin / "scoring" / "a_rules.py")
    init = plugin / "scoring" / "__init__.py"
    init.write_text(init.read_text().replace(".rules", ".a_rules"))
    assert scorer_code(loaded()) == before


@pytest.mark.parametrize(
    "same",
    [
        "def f(x):\n    return x + 1\n",
        "# a comment\ndef f(x): return (x + 1)",
        '"""Module."""\nimport re\nfrom math import floor\ndef f(x):\n    """Doc."""\n    return x + 1\n',
        'def f(x):\n    import re\n    return x + 1\n"""Text after a name."""\n',
    ],
)
def test_words_and_import_lines_are_no_code(same: str) -> None:
    assert code_of(same) == code_of("def f(x):\n    return x + 1\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 2"),
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = '1'"),
        ("x = None", "x = 'None'"),
        ("x = ')'", "x = ()"),
        ("def f(a, b=1): pass", "def f(a, *, b=1): pass"),
        ("x = f(y)", "x = f(*y)"),
        ("from rules import exact as grade", "from rules import loose as grade"),
    ],
)
def test_other_code_is_other_code(one: str, other: str) -> None:
    assert code_of(one) != code_of(other)


def test_a_deep_tree_is_read() -> None:
    assert code_of("x = " + " + ".join(["1"] * 400)) != code_of("x = " + " + ".join(["1"] * 399))


@pytest.mark.parametrize("nothing", ["", '"""Only a docstring."""', "import re\n"])
def test_a_module_without_code_has_none(nothing: str) -> None:
    assert code_of(nothing) == ""


def test_the_text_is_the_same_on_every_python() -> None:
    """The test has only one version of Python, so the expected value is written out."""
    assert code_of("def f(x: int = 1) -> str:\n    return f'{x!r}'\n") == (
        "Module(body=[FunctionDef(name='f',args=arguments(args=[arg(arg='x',annotation=Name(id='int',))]"
        "defaults=[Constant(value=1,)])body=[Return(value=JoinedStr(values=[FormattedValue(value=Name(id='x',)"
        "conversion=114,)]))]returns=Name(id='str',))])"
    )
