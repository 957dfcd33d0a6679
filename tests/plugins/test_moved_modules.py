"""The error for a plugin of the old layout names the new modules and attributes."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from mipo_bench.harness.errors import PluginError
from mipo_bench.harness.plugins.moved_modules import _MOVED, _RENAMED
from mipo_bench.harness.plugins.registry import load_plugins


@pytest.mark.parametrize("new", sorted(set(_MOVED.values())))
def test_the_new_modules_are_there(new: str) -> None:
    import_module(f"mipo_bench.{new}")


@pytest.mark.parametrize("new", sorted(_RENAMED.values()))
def test_the_new_names_are_there(new: str) -> None:
    module, _, name = new.rpartition(".")
    assert hasattr(import_module(f"mipo_bench.{module}"), name)


PACKAGES = {"harness.config", "harness.plugins", "harness.store"}
"""Modules whose names are those of packages now."""


@pytest.mark.parametrize("old", sorted(set(_MOVED) - PACKAGES))
def test_the_old_modules_are_gone(old: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        import_module(f"mipo_bench.{old}")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("from mipo_bench.tasks.gsm8k import Gsm8k", "mipo_bench.tasks.gsm8k is mipo_bench.tasks.public.gsm8k now"),
        ("import mipo_bench.baselines.plain", "mipo_bench.baselines.plain is mipo_bench.baselines.prompting.plain now"),
        (
            "from mipo_bench.harness.plugins import load_plugins",
            "mipo_bench.harness.plugins is mipo_bench.harness.testing now",
        ),
        ("from mipo_bench.harness.types import Request", "Request is mipo_bench.harness.protocols.Request now"),
        ("from mipo_bench.harness.types import ForeignTask", "is mipo_bench.harness.types.ExternalTask now"),
        ("import mipo_bench.harness.check_task", "is mipo_bench.harness.testing now: import answer, failures and"),
    ],
)
def test_an_old_import_names_the_new_module(line: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text(f"{line}\nTASKS = []\n")
    with pytest.raises(PluginError, match=told):
        load_plugins([tmp_path / "old.py"])


def test_another_missing_module_is_no_matter_of_ours(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("import no_such_module\nTASKS = []\n")
    with pytest.raises(PluginError, match=r"No module named 'no_such_module' \(other.py, line 1\)"):
        load_plugins([tmp_path / "other.py"])


def test_a_name_that_never_was_there_is_no_matter_of_ours(tmp_path: Path) -> None:
    (tmp_path / "typo.py").write_text("from mipo_bench.harness.types import Itme\nTASKS = []\n")
    with pytest.raises(PluginError) as caught:
        load_plugins([tmp_path / "typo.py"])
    assert " now" not in str(caught.value)
