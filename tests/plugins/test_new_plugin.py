"""Every skeleton of `new-baseline` and `new-recipe` passes its checks, and its tests pass unchanged."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from golden_files import check_golden, run
from paths import ROOT

from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.plugin_checks import baseline, recipe
from mipo_bench.harness.plugins.new_plugin import write_plugin
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.types import Task
from mipo_bench.tasks.embedded.arithmetic import Arithmetic
from mipo_bench.tasks.embedded.persona import Persona

SKELETONS = ROOT / "harness" / "plugins" / "skeletons"
OF: tuple[Literal["baseline", "recipe"], ...] = ("baseline", "recipe")
KINDS = [(of, f.name.partition("-")[2].partition(".")[0]) for of in OF for f in sorted(SKELETONS.glob(f"{of}-*"))]
TASKS: Sequence[Task] = (Persona(), Arithmetic())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plugin of each kind."""
    made = tmp_path_factory.mktemp("plugins") / "new"
    for of, kind in KINDS:
        write_plugin(of, f"my-{kind}", kind, made)
    return made


@pytest.mark.parametrize(("of", "kind"), KINDS)
def test_the_skeleton_passes_its_checks(folder: Path, of: str, kind: str) -> None:
    plugins = load_plugins([folder / f"my_{kind.replace('-', '_')}.py"])
    if of == "baseline":
        own = plugins.baseline(f"my-{kind}")
        again = partial(baseline.fingerprints, own, TASKS)
        checks = list(baseline.check_baseline(own, TASKS, plugins, lambda _: again()))
    else:
        trained = plugins.recipe(f"my-{kind}")
        drawn = partial(recipe.fingerprints, trained, TASKS, plugins)
        checks = list(recipe.check_recipe(trained, TASKS, plugins, lambda _: drawn()))
    assert len(checks) >= 6
    assert [check for check in checks if check.problems] == []


@pytest.mark.slow
def test_the_tests_beside_the_skeletons_pass(folder: Path) -> None:
    """All but the checks themselves, which run above and, on every task, in the tutorials."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not all_checks", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=folder)
    assert done.returncode == 0, done.stdout
    assert "10 passed, 6 deselected" in done.stdout


def test_the_skeletons_of_a_folder_are_loaded_together_and_their_tests_are_not(folder: Path) -> None:
    plugins = load_plugins([folder])
    assert {f"my-{kind}" for _, kind in KINDS} <= {*plugins.baselines, *plugins.recipes}


@pytest.mark.parametrize("name", ["item", "9.to-5", "Task", "class"])
@pytest.mark.parametrize("of", OF)
def test_any_allowed_name_makes_a_plugin(of: Literal["baseline", "recipe"], name: str, tmp_path: Path) -> None:
    kind = {"baseline": "plain", "recipe": "other-user"}[of]
    plugins = load_plugins([write_plugin(of, name, kind, tmp_path).file])
    assert name in {*plugins.baselines, *plugins.recipes}


@pytest.mark.parametrize("of", OF)
def test_a_name_that_would_hide_a_module_is_refused(of: Literal["baseline", "recipe"], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="would hide the Python module 'json'"):
        write_plugin(of, "json", "plain", tmp_path)
    assert not list(tmp_path.iterdir())


COMMANDS = {
    "baseline": "new-baseline about-me",
    "stepped": "new-baseline two-drafts --kind stepped --out 'a b'",
    "recipe": "new-recipe my-mipo",
    "other-prompt": "new-recipe my-mipo --kind other-prompt",
    "baseline-installed": "new-baseline profile",
    "recipe-installed": "new-recipe mipo-random",
    "stands-already": "new-recipe stands",
    "bad-name": "new-baseline ../up",
    "bad-kind": "new-recipe mine --kind none",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_printed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "stands.py").write_text("mine")
    printed = run(COMMANDS[name], capsys)
    check_golden(f"new-plugin/{name}.txt", printed.text(COMMANDS[name]))
    assert (tmp_path / "stands.py").read_text() == "mine"
    if printed.code:
        assert [file.name for file in tmp_path.iterdir()] == ["stands.py"]
