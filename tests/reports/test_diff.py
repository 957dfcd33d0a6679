"""`mipo-bench diff` on report files: its pages, figures, errors and exit codes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden_files import check_golden, run
from made_reports import BASE, RATES, WORSE, first_items_changed, moved_users, with_tasks, without
from paths import GOLDEN

from mipo_bench.reports.records.report import ArmRecord, Report, TaskRecord
from mipo_bench.reports.records.report_file import seal, to_json
from mipo_bench.reports.stats import Scores, compare, holm


def failing(report: Report) -> Report:
    def fail(arm: ArmRecord) -> ArmRecord:
        first = f"{'persona' if arm.task == 'persona' else 'arithmetic'}-000"
        return arm.model_copy(update={"failed": {first: "generate: boom"}, "scores": [0.0, *arm.scores[1:]]})

    return seal(report.model_copy(update={"arms": [fail(arm) for arm in report.arms]}))


RED = "\x1b[31m<b>|@you `x` #1"
CASES: dict[str, tuple[str, int, Report, Report]] = {
    "worse": ("diff a.json b.json", 0, BASE.report(), WORSE.report()),
    "worse-items": ("diff a.json b.json --items --max-items 2", 0, BASE.report(), WORSE.report()),
    "worse-gate": ("diff a.json b.json --gate regression", 1, BASE.report(), WORSE.report()),
    "worse-margin": (
        "diff a.json b.json --gate regression --margin 0.2 --margin arithmetic=0.3",
        0,
        BASE.report(),
        WORSE.report(),
    ),
    "unclear": ("diff a.json b.json", 0, BASE.report(), replace(BASE, seed=2).report()),
    "noninferior": (
        "diff a.json b.json --gate noninferior --margin persona=0.05 --margin arithmetic=0.1",
        0,
        BASE.report(),
        replace(BASE, seed=2).report(),
    ),
    "inconclusive": (
        "diff a.json b.json --gate noninferior --margin 0.03",
        3,
        BASE.report(),
        replace(BASE, seed=2).report(),
    ),
    "identical": ("diff a.json b.json --gate regression", 0, BASE.report(), BASE.report()),
    "environment": (
        "diff a.json b.json",
        0,
        BASE.report(),
        replace(
            BASE,
            dtype="bfloat16",
            weights="bbbbbbbbbbbb",
            versions={"python": "3.12.1", "torch": "2.9.0", "trl": "1.16.0"},
            settings={"train": {"lr": 0.001}, "suite": "math"},
            dirty=True,
            commit="abcdef1234567890",
        ).report(),
    ),
    "scorer": ("diff a.json b.json", 0, BASE.report(), replace(BASE, scorer="scorer-2").report()),
    "scorer-gate": (
        "diff a.json b.json --gate regression",
        4,
        BASE.report(),
        replace(BASE, scorer="scorer-2").report(),
    ),
    "items-changed": ("diff a.json b.json", 0, BASE.report(), first_items_changed(BASE.report())),
    "other-seeds": ("diff a.json b.json", 0, BASE.report(), replace(BASE, train_seeds=(2, 3, 4)).report()),
    "no-common-seed": (
        "diff a.json b.json --gate regression",
        4,
        BASE.report(),
        replace(BASE, train_seeds=(3, 4)).report(),
    ),
    "arm-lost": (
        "diff a.json b.json --gate regression",
        4,
        BASE.report(),
        without(BASE.report(), "mipo-random"),
    ),
    "arm-lost-left-out": (
        "diff a.json b.json --gate regression --arm '*/plain' --arm persona/profile",
        0,
        BASE.report(),
        without(BASE.report(), "mipo-random"),
    ),
    "task-lost": ("diff a.json b.json", 0, BASE.report(), replace(BASE, suites=("math",)).report()),
    "failed-items": ("diff a.json b.json", 0, BASE.report(), failing(BASE.report())),
    "text-of-others": (
        "diff a.json b.json",
        0,
        replace(BASE, recipe=RED).report(),
        replace(BASE, recipe=RED, seed=3, weights=RED).report(),
    ),
    "markdown": ("diff a.json b.json --format markdown --items --max-items 2", 0, BASE.report(), WORSE.report()),
    "markdown-gate": (
        "diff a.json b.json --format markdown --gate regression",
        1,
        BASE.report(),
        first_items_changed(WORSE.report()),
    ),
    "selftest": ("diff --selftest a.json", 0, BASE.report(), BASE.report()),
    "selftest-noninferior": (
        "diff --selftest a.json --gate noninferior --margin 0.2 --format markdown",
        0,
        BASE.report(),
        BASE.report(),
    ),
    "selftest-of-two": ("diff --selftest a.json b.json", 2, BASE.report(), BASE.report()),
    "selftest-unknown-arm": ("diff --selftest a.json --arm persona/prfile", 2, BASE.report(), BASE.report()),
    "selftest-too-few": (
        "diff --selftest a.json",
        1,
        replace(BASE, n_math=4, n_users=3, train_seeds=()).report(),
        BASE.report(),
    ),
    # refused
    "other-suites": (
        "diff a.json b.json",
        2,
        replace(BASE, suites=("math",)).report(),
        replace(BASE, suites=("personalized",)).report(),
    ),
    "other-suites-gate": (
        "diff a.json b.json --gate regression",
        4,
        replace(BASE, suites=("math",)).report(),
        replace(BASE, suites=("personalized",)).report(),
    ),
    "no-matching-items": (
        "diff a.json b.json --gate regression",
        4,
        BASE.report(),
        with_tasks(BASE.report(), lambda t: t.model_copy(update={"prompt_hashes": ["x"] * len(t.items)})),
    ),
    "other-users": ("diff a.json b.json", 2, BASE.report(), moved_users(BASE.report())),
    "other-users-gate": ("diff a.json b.json --gate regression", 4, BASE.report(), moved_users(BASE.report())),
    "users-on-one-side": (
        "diff a.json b.json",
        2,
        BASE.report(),
        with_tasks(BASE.report(), lambda t: t.model_copy(update={"users": None})),
    ),
    "unknown-arm": ("diff a.json b.json --arm persona/prfile", 2, BASE.report(), BASE.report()),
    "margin-of-what-is-compared": (
        "diff a.json a.json --arm persona/* --gate noninferior --margin persona=0.2",
        0,
        BASE.report(),
        BASE.report(),
    ),
    "no-margin": ("diff a.json b.json --gate noninferior --margin persona=0.1", 2, BASE.report(), BASE.report()),
    "bad-margins": (
        "diff a.json b.json --margin persna=0.1 --margin x --margin persona=2 --margin nan",
        2,
        BASE.report(),
        BASE.report(),
    ),
    "absent": ("diff a.json absent.json", 2, BASE.report(), BASE.report()),
    "nothing-to-lose": (
        "diff --selftest a.json",
        2,
        replace(BASE, gains=dict.fromkeys(RATES, -2.0)).report(),
        BASE.report(),
    ),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


def write(folder: Path, a: Report, b: Report) -> None:
    (folder / "a.json").write_text(to_json(a))
    (folder / "b.json").write_text(to_json(b))


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command, code, a, b = CASES[name]
    write(folder, a, b)
    printed = run(command, capsys)
    assert printed.code == code, printed.err
    assert (printed.out == "") == (printed.err != "")
    assert "\x1b" not in printed.out + printed.err
    if "markdown" not in command:
        assert all(len(line) <= 80 for line in printed.out.splitlines())
    check_golden(f"diff/{name}.txt", printed.text(command))


def test_golden_files_all_belong_to_a_case() -> None:
    assert {path.stem for path in (GOLDEN / "diff").iterdir()} == set(CASES)


def test_json_has_the_figures_of_a_paired_test(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, BASE.report(), WORSE.report())
    printed = run("diff a.json b.json --format json --items --max-items 2 --gate regression", capsys)
    record = json.loads(printed.out)
    assert printed.code == record["gate"]["exit_code"] == 1
    arms = {f"{arm['task']}/{arm['method']}": arm for arm in record["arms"]}
    a, b = BASE.report(), WORSE.report()
    left, right = ([arm.scores for arm in r.group("persona", "mipo-random")] for r in (a, b))
    task = a.task("persona")
    assert task
    found = compare(*(columns(task, scores) for scores in (left, right)), margin=None)
    assert arms["persona/mipo-random"]["comparison"]["p_value"] == found.p_value
    assert arms["persona/mipo-random"]["comparison"]["ci_low"] == found.ci_low
    p = [arm["comparison"]["p_value"] for arm in arms.values()]
    assert [arm["p_holm"] for arm in arms.values()] == holm(p)
    assert record["family_size"] == len(arms) == 6
    moved = np.mean(right, axis=0) - np.mean(left, axis=0)
    assert len(arms["persona/mipo-random"]["regressed"]) == int((moved < 0).sum())
    assert arms["persona/mipo-random"]["regressed"][0]["item"] == task.items[int(np.argmin(moved))]


def columns(task: TaskRecord, seeds: list[list[float]]) -> Scores:
    return Scores.from_columns(
        task.items * len(seeds),
        [score for scores in seeds for score in scores],
        (task.users or []) * len(seeds),
        [seed for seed, scores in enumerate(seeds) for _ in scores],
    )


def test_markdown_folds_lists_and_escapes_names(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def rename(task: TaskRecord) -> TaskRecord:
        return task.model_copy(update={"items": [f"{item} {RED} </details>" for item in task.items]})

    write(folder, with_tasks(BASE.report(), rename), with_tasks(WORSE.report(), rename))
    text = run("diff a.json b.json --format markdown --items", capsys).out
    assert text.count("<details>") == text.count("</details>") == len(re.findall("<summary>.*</summary>", text))
    assert not re.search(r"@\w|#\d|(?<!\\)<b", text)
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (to_json(BASE.report())[:1000], "cannot read the report b.json"),
        (to_json(BASE.report()).replace('"created":"2026', '"created":"2027'), "b.json has been changed since"),
        ('{"schema_version": "3.0"}', "b.json has report schema 3.0"),
    ],
)
@pytest.mark.parametrize("gate", ["", " --gate regression"])
def test_a_damaged_side_is_bad_input_under_any_gate(
    content: str, message: str, gate: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, BASE.report(), BASE.report())
    (folder / "b.json").write_text(content)
    printed = run(f"diff a.json b.json{gate}", capsys)
    assert printed.code == 2
    assert message in printed.err
    assert not printed.out
