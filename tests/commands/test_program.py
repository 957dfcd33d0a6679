"""The program itself: its help by journey, its version, and the completion of the shell."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import version

import pytest
import typer
import yaml
from golden_files import check_golden, run
from paths import ROOT

from mipo_bench.harness.cli import program
from mipo_bench.harness.commands.journeys import JOURNEYS, JourneyGroup


def test_help_lists_the_commands_by_journey(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    check_golden("help/mipo-bench.txt", run("--help", capsys).text("--help"))


def test_every_command_belongs_to_a_journey() -> None:
    group = typer.main.get_command(program())
    assert isinstance(group, JourneyGroup)
    listed = [name for names in JOURNEYS.values() for name in names]
    assert len(set(listed)) == len(listed)
    assert set(group.commands) <= set(listed)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version", capsys).out == f"mipo-bench {version('mipo-bench')}\n"


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_citation_refers_to_the_paper_of_the_method() -> None:
    [paper] = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    assert {"type", "title", "authors"} <= set(paper)
    assert all({"family-names", "given-names"} <= set(author) for author in paper["authors"])
    assert paper["url"].rpartition("/")[2] in (ROOT / "README.md").read_text()


def completed(line: str) -> set[str]:
    """The completions of a line in bash, of a real process."""
    word = len(line.split(" ")) - 1
    asked = {"_MIPO_BENCH_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(word)}
    program = "import sys; sys.argv[0] = 'mipo-bench'; from mipo_bench.harness.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    return set(done.stdout.split())


def test_a_shell_completes_commands_options_and_values() -> None:
    assert {"run", "show", "compare"} <= completed("mipo-bench ")
    assert "--format" in completed("mipo-bench show --fo")
    assert {"markdown", "latex", "csv"} <= completed("mipo-bench show --format ")


def test_a_shell_completes_the_names_of_installed_plugins() -> None:
    assert {"gsm8k", "persona"} <= completed("mipo-bench run --task ")
    assert completed("mipo-bench run --recipes sft-self,mipo-r") == {"sft-self,mipo-random"}
