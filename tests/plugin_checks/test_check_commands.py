"""`check-baseline` and `check-recipe` on plugin files: the printed pages, and bad input as one message."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden_files import check_golden, run
from paths import DATA

from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.plugin_checks.every import Scope, checks_of
from mipo_bench.harness.plugins.protocol_checks import PluginKind
from mipo_bench.harness.plugins.registry import load_plugins

FEW = """
from mipo_bench.tasks.embedded.persona import Persona

class Few(Persona):
    name = "few"
    def items(self, split):
        return super().items(split)[:6]

TASKS = [Few]
"""
BASELINES = """
from mipo_bench.baselines.prompting.profile import Profile
from mipo_bench.baselines.prompting.user_thoughts import UserThoughts
from mipo_bench.harness.types import Message

class Thoughtful(UserThoughts):
    name = "thoughtful"

class Forgetful(Profile):
    name = "forgetful"
    def messages(self, item):
        return (Message("user", item.prompt),)

BASELINES = [Thoughtful, Forgetful]
"""
RECIPES = """
from mipo_bench.baselines.recipes.mipo_random import MipoRandom

class Shuffled(MipoRandom):
    name = "shuffled"

RECIPES = [Shuffled]
"""
BROKEN = "import no_such_module\n"
COMMANDS = {
    "baselines": "check-baseline ./mine.py --include few.py --task few",
    "another-kind": "check-baseline mipo-random",
    "no-baseline": "check-baseline trained.py",
    "not-imported": "check-recipe broken.py",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with plugin files."""
    files = {"few.py": FEW, "mine.py": BASELINES, "trained.py": RECIPES, "broken.py": BROKEN}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_printed(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.iterdir())
    check_golden(f"check-plugin/{name}.txt", run(COMMANDS[name], capsys).text(COMMANDS[name]))
    assert sorted(folder.iterdir()) == before


def test_an_unknown_name_is_answered_with_the_nearest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("check-baseline thoughtfull --include mine.py", capsys)
    assert (printed.out, printed.code) == ("", 2)
    assert "unknown baseline 'thoughtfull'. Did you mean 'thoughtful'" in printed.err


PLUGINS = load_plugins()


@pytest.mark.parametrize(
    ("kind", "name", "scope", "message"),
    [
        ("recipe", "mipo-randm", Scope(PLUGINS), "unknown recipe 'mipo-randm'. Did you mean 'mipo-random'"),
        ("recipe", "mipo-random", Scope(PLUGINS, tasks=["persna"]), "unknown task 'persna'. Did you mean 'persona'"),
        (
            "baseline",
            "profile",
            Scope(PLUGINS, data={"*": Path("a")}),
            "reads it. .*\nName the task",
        ),
    ],
)
def test_bad_input_is_one_message(kind: PluginKind, name: str, scope: Scope, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        checks_of(kind, [name], scope)


def test_tasks_that_read_a_data_set_are_checked_when_they_are_named() -> None:
    (checked,) = checks_of("recipe", ["mipo-random"], Scope(PLUGINS, tasks=["gsm8k"], data={"*": DATA}))
    assert next(checked.checks).done == "to gsm8k"
    assert {"arithmetic", "persona", "preferences"} <= set(Scope(PLUGINS).on)
    assert "gsm8k" not in Scope(PLUGINS).on
