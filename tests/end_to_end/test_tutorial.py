"""The tutorials are executed: their files are written, their commands run, and the output is compared with the page.

A tutorial shortens output. The lines shown must come in this order; other lines may be between them. `...` in a line
matches any text, and figures in the output of `run` are ignored.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from golden_files import Printed, run
from paths import ROOT
from real_models import make_gguf

from mipo_bench.reports.records.report_file import load_report

TUTORIAL = ROOT / "docs" / "tutorial.md"
OWN_ENGINE = ROOT / "docs" / "tutorial-own-engine.md"
CI_GATE = ROOT / "docs" / "tutorial-ci-gate.md"
REAL_MODEL = ROOT / "docs" / "tutorial-real-model.md"
JUDGED_TASK = ROOT / "docs" / "tutorial-judged-task.md"
LM_EVAL_TASK = ROOT / "docs" / "tutorial-lm-eval-task.md"
OWN_BASELINE = ROOT / "docs" / "tutorial-own-baseline.md"
OWN_RECIPE = ROOT / "docs" / "tutorial-own-recipe.md"
COMMANDS = {
    "mipo-bench": ["-m", "mipo_bench.harness.cli"],
    "pytest": ["-m", "pytest", "-p", "no:cacheprovider"],
    "python": [],
}
"""Program -> the arguments of Python that run it. `git` runs as it is."""
SHOWN_ONLY = ("toml", "json", "sh")
MODEL = ("model", "training")
"""The info strings of blocks whose commands generate with the embedded model, or train it."""
FIGURES = ("run", "diff")
"""Commands whose output has figures that differ slightly between machines."""
ENVIRONMENT = {"COLUMNS": "80", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
Execute = Callable[[list[str], Path], Printed]
"""Runs the words of a command in a folder."""
PERSON = {f"GIT_{role}_{part}": "ana@example.org" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the rest of its info string, and its text."""

    language: str
    about: str
    text: str


def blocks(page: Path = TUTORIAL) -> list[Block]:
    found = re.findall(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(*parts) for parts in found]


def in_a_process(words: list[str], folder: Path) -> Printed:
    program, *arguments = words
    done = subprocess.run(
        [*(["git"] if program == "git" else [sys.executable, *COMMANDS[program]]), *arguments],
        cwd=folder,
        env=os.environ | ENVIRONMENT | PERSON,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Printed(done.stdout, done.stderr, done.returncode)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Execute:
    """Runs `mipo-bench` in this process, where torch and lm-eval are imported once, and other programs as before."""
    monkeypatch.chdir(tmp_path)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    def execute(words: list[str], folder: Path) -> Printed:
        return run(shlex.join(words[1:]), capsys) if words[0] == "mipo-bench" else in_a_process(words, folder)

    return execute


def follow(block: Block, folder: Path, execute: Execute = in_a_process) -> None:
    """Execute a block: write its file, apply its diff, or run its commands, of which the last has the exit code."""
    if block.language == "diff":
        apply(block, folder / block.about)
    elif block.language == "console":
        code = int(block.about.partition("exit ")[2] or 0)
        commands = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
        for text in commands:
            command, _, output = text.partition("\n")
            check(command, output, code if text == commands[-1] else 0, folder, execute)
    elif block.about:
        (folder / block.about).parent.mkdir(parents=True, exist_ok=True)
        (folder / block.about).write_text(block.text, encoding="utf-8")
    else:
        assert block.language in SHOWN_ONLY, f"no rule for {block.language}"


def apply(block: Block, file: Path) -> None:
    """Replace the lines marked - by the lines marked +."""
    old, new = ("".join(line[1:] for line in block.text.splitlines(keepends=True) if line[0] == sign) for sign in "-+")
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


def check(command: str, output: str, code: int, folder: Path, execute: Execute = in_a_process) -> None:
    """Run a command and look for the lines that the tutorial shows, in order."""
    program_and_arguments = shlex.split(command)
    done = execute(program_and_arguments, folder)
    assert done.code == code, done.out + done.err
    part = words if program_and_arguments[1] in FIGURES else lambda line: " ".join(line.split())
    lines = iter(done.out.splitlines())
    for wanted in output.splitlines():
        assert any(pattern(part(wanted)).fullmatch(part(line)) for line in lines), f"{wanted!r} is not in\n{done.out}"


def pattern(line: str) -> re.Pattern[str]:
    return re.compile(re.escape(" ".join(line.split())).replace(r"\.\.\.", ".*"))


def words(line: str) -> str:
    """A line without figures, intervals and significance marks, which differ between machines and models."""
    return " ".join(word for word in line.split() if not re.search(r"\d", word) and word not in ("~", "-", "to"))


def test_what_the_tutorial_shows_without_a_model(tmp_path: Path) -> None:
    for block in blocks():
        if block.about not in MODEL:
            follow(block, tmp_path)


@pytest.mark.training
def test_what_the_tutorial_shows_of_the_model_before_and_after_training(tmp_path: Path) -> None:
    for block in blocks():
        if block.language != "console" or block.about in MODEL:
            follow(block, tmp_path)
    assert (tmp_path / "mipo-bench-report" / "report.json").exists()


def test_another_engine_answers_the_prompts(tmp_path: Path) -> None:
    for block in blocks(OWN_ENGINE):
        follow(block, tmp_path)
    report = load_report(tmp_path / "mipo-bench-report")
    assert {(arm.method, arm.finish_unknown) for arm in report.arms} == {("plain", 0), ("few-shot", 0)}
    assert 0 < sum(report.arms[0].scores) < len(report.arms[0].scores)


@pytest.mark.slow
def test_a_gate_in_a_repository_fails_after_a_change_for_the_worse(tmp_path: Path) -> None:
    shown = blocks(CI_GATE)
    for block in shown:
        follow(block, tmp_path)
    assert {block.about for block in shown if block.language == "console"} == {"", "exit 1", "exit 3"}
    workflow = yaml.safe_load((tmp_path / ".github" / "workflows" / "mipo-bench.yml").read_text())
    *_, step = workflow["jobs"]["diff"]["steps"]
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert set(step["with"]) <= set(action["inputs"])


def test_a_person_judges_the_responses_of_a_judged_task(tmp_path: Path, here: Execute) -> None:
    for block in blocks(JUDGED_TASK):
        follow(block, tmp_path, here)
    [record] = load_report(tmp_path / "mipo-bench-report").judges
    assert record.unread == 0
    won = {arm.method: arm.win_rate for arm in record.arms}
    assert won["no-context"] < 0.2 < won["profile (A/A)"]


def test_a_definition_of_lm_eval_is_written_corrected_and_run(tmp_path: Path, here: Execute) -> None:
    for block in blocks(LM_EVAL_TASK):
        follow(block, tmp_path, here)
    report = load_report(tmp_path / "mipo-bench-report")
    assert {arm.method: len(arm.scores) for arm in report.arms} == {"few-shot": 6, "plain": 6}


@pytest.mark.parametrize("page", [OWN_BASELINE, OWN_RECIPE], ids=lambda page: page.stem)
def test_a_baseline_and_a_recipe_are_written_corrected_and_proved(page: Path, tmp_path: Path, here: Execute) -> None:
    for block in blocks(page):
        follow(block, tmp_path, here)


@pytest.mark.training
def test_a_real_model_is_taken_from_a_file_to_a_checkpoint(tmp_path: Path) -> None:
    make_gguf(tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf")  # random weights in place of the real ones
    for block in blocks(REAL_MODEL):
        follow(block, tmp_path)
    report = load_report(tmp_path / "mipo-bench-report")
    assert report.failures == []
    assert report.checkpoints[0].lineage["pairs"]["used"] >= 4
    assert (tmp_path / "answers.html").exists()


@pytest.mark.parametrize(
    ("page", "commands", "models"),
    [
        (TUTORIAL, {"new-task", "check-task", "run", "list"}, ["model", "training"]),
        (OWN_BASELINE, {"new-baseline", "check-baseline"}, []),
        (OWN_RECIPE, {"new-recipe", "check-recipe", "run"}, []),
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else "",
)
def test_the_tutorial_has_what_it_is_for(page: Path, commands: set[str], models: list[str]) -> None:
    shown = [b.text.split()[2] for b in blocks(page) if b.language == "console" and b.text.startswith("$ mipo-bench")]
    assert commands <= set(shown)
    assert [block.about for block in blocks(page) if block.about in MODEL] == models


def test_a_line_that_is_not_printed_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="is not in"):
        check("mipo-bench new-task x", "Wrote x.py, a math task, and test_x.py. Next:\n", 0, tmp_path)
    with pytest.raises(AssertionError):
        check("mipo-bench new-task x", "", 0, tmp_path)
