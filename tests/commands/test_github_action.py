"""The GitHub Action: its scripts run here, with a stand-in for `gh` that keeps the comments in a file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from made_reports import BASE, WORSE
from paths import ROOT

from mipo_bench.reports.records.report_file import to_json

pytestmark = pytest.mark.slow
SCRIPTS = ROOT / ".github" / "action"
GH = """#!{python}
import json, pathlib, sys
arguments = sys.argv[1:]
file = pathlib.Path("comments.json")
comments = json.loads(file.read_text())
if pathlib.Path("refused").exists():
    sys.exit("HTTP 403: Resource not accessible by integration")
assert arguments[0] == "api"
fields = [a.removeprefix("body=@") for a in arguments if a.startswith("body=@")]
if not fields:
    marker = arguments[arguments.index("--jq") + 1].split('"')[1]
    assert "repos/me/it/issues/7/comments" in arguments
    print(*[c["id"] for c in comments if c["body"].startswith(marker)], sep="\\n")
else:
    text = pathlib.Path(fields[0]).read_text()
    if arguments[2] == "POST":
        assert arguments[3] == "repos/me/it/issues/7/comments"
        comments.append({{"id": 100 + len(comments), "body": text}})
    else:
        number = int(arguments[3].removeprefix("repos/me/it/issues/comments/"))
        next(c for c in comments if c["id"] == number)["body"] = text
    file.write_text(json.dumps(comments))
"""


@dataclass(frozen=True)
class Job:
    """A job of GitHub Actions in a folder."""

    folder: Path

    def run(self, script: str, **inputs: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the action as its step does."""
        place = {"OUT": str(self.folder / "out"), "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        files = {name: str(self.folder / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        usual = {"BASE": "a.json", "HEAD": "b.json", "GATE": "regression", "MARGIN": "", "REPORT_PATH": ""}
        about = {"REPOSITORY": "me/it", "NUMBER": "7", "TEXT": str(self.folder / "diff.md")}
        return subprocess.run(
            ["bash", str(SCRIPTS / script)],
            cwd=self.folder,
            env={**os.environ, **place, **files, **usual, **about, **inputs},
            capture_output=True,
            text=True,
            check=False,
        )

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()

    @property
    def comments(self) -> list[dict[str, Any]]:
        found = json.loads(self.text("comments.json"))
        assert isinstance(found, list)
        return found


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "a.json").write_text(to_json(BASE.report()))
    (tmp_path / "b.json").write_text(to_json(WORSE.report()))
    (tmp_path / "comments.json").write_text(json.dumps([{"id": 3, "body": "of a person"}]))
    (tmp_path / "diff.md").write_text("# first\n")
    programs = {
        "gh": GH.format(python=sys.executable),
        "mipo-bench": f'#!/bin/sh\nexec {sys.executable} -m mipo_bench.harness "$@"\n',
    }
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return Job(tmp_path)


def test_a_regression_is_shown_and_left_to_the_last_step(job: Job) -> None:
    done = job.run("diff.sh")
    assert done.returncode == 0, done.stderr
    assert job.text("GITHUB_OUTPUT") == "exit-code=1\nverdict=regression\n"
    assert job.text("out/diff.md").startswith("# ")
    assert job.text("GITHUB_STEP_SUMMARY") == job.text("out/diff.md")
    assert json.loads(job.text("out/diff.json"))["arms"]
    assert "Content-Security-Policy" in job.text("out/diff.html")


def test_the_inputs_reach_the_command(job: Job) -> None:
    job.run("diff.sh", MARGIN="arithmetic=0.9 persona=0.9")
    job.run("diff.sh", GATE="none")
    job.run("diff.sh", BASE="b.json")
    codes = re.findall(r"exit-code=(\d)", job.text("GITHUB_OUTPUT"))
    assert codes == ["0", "0", "0"]


@pytest.mark.parametrize("inputs", [{"BASE": "missing.json"}, {"MARGIN": "persona=much"}, {"GATE": "strict"}])
def test_bad_input_is_shown_with_its_message(inputs: dict[str, str], job: Job) -> None:
    done = job.run("diff.sh", **inputs)
    assert done.returncode == 0
    assert job.text("GITHUB_OUTPUT") == "exit-code=2\nverdict=bad input\n"
    [value] = inputs.values()
    assert value.split("=")[-1] in job.text("GITHUB_STEP_SUMMARY")
    assert value.split("=")[-1] in done.stderr


def test_a_name_is_no_command(job: Job) -> None:
    job.run("diff.sh", BASE="$(touch hacked).json", MARGIN="`touch hacked`", REPORT_PATH="; touch hacked")
    assert not (job.folder / "hacked").exists()
    assert "exit-code=2" in job.text("GITHUB_OUTPUT")


def test_a_push_without_a_base_is_refused(job: Job) -> None:
    done = job.run("diff.sh", BASE="")
    assert done.returncode == 2
    assert "Give the input `base`" in done.stderr


def test_one_comment_is_written_and_then_rewritten(job: Job) -> None:
    assert job.run("comment.sh").returncode == 0
    (job.folder / "diff.md").write_text("# second\n")
    assert job.run("comment.sh").returncode == 0
    assert [c["body"] for c in job.comments] == ["of a person", "<!-- mipo-bench diff -->\n# second\n"]


def test_a_long_comparison_is_cut_for_the_comment(job: Job) -> None:
    (job.folder / "diff.md").write_text("x" * 70_000)
    job.run("comment.sh")
    body = job.comments[-1]["body"]
    assert len(body) < 65_536
    assert "The rest is in the summary of the job" in body


def test_a_token_that_may_not_write_gives_a_warning(job: Job) -> None:
    (job.folder / "refused").touch()
    done = job.run("comment.sh")
    assert done.returncode == 0
    assert "::warning::" in done.stdout
    assert len(job.comments) == 1


def test_the_action_runs_scripts_that_exist_and_passes_every_variable() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    steps = {name: s for s in action["runs"]["steps"] for name in re.findall(r"/(\w+\.sh)", s.get("run", ""))}
    assert set(steps) == {file.name for file in SCRIPTS.iterdir()}
    for name, step in steps.items():
        own = {"GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "VERDICTS", "MARKER", "MOST"}
        used = set(re.findall(r"\$\{?([A-Z][A-Z_]+)", (SCRIPTS / name).read_text())) - own
        assert used <= set(step["env"])
    text = (ROOT / "action.yml").read_text()
    assert set(re.findall(r"inputs\.(\w+)", text)) == set(action["inputs"])


def test_pre_commit_has_the_pinned_ruff() -> None:
    [hooks] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert f"ruff=={hooks['rev'].removeprefix('v')}" in (ROOT / "constraints.txt").read_text().split()
