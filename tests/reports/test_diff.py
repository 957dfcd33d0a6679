"""`mipo-bench diff` on report files: matching, tests, pages, errors and gates."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_files import check_golden, run
from made_reports import RATES, Made
from paths import GOLDEN

from mipo_bench.harness.errors import NotComparableError
from mipo_bench.reports.diff.diff_reports import diff_reports
from mipo_bench.reports.diff.environment import environment_notes
from mipo_bench.reports.diff.gate import Gate, apply_gate
from mipo_bench.reports.diff.records import ArmDiff, DiffOptions, ReportDiff, Side
from mipo_bench.reports.records.report import ArmRecord, Report, TaskRecord
from mipo_bench.reports.records.report_file import seal, to_json
from mipo_bench.reports.stats import Scores, compare, holm

BASE = Made()
WORSE = Made(seed=1, gains={"plain": -0.25, "mipo-random": -0.1})


def with_tasks(report: Report, change: Callable[[TaskRecord], TaskRecord]) -> Report:
    return seal(report.model_copy(update={"tasks": [change(task) for task in report.tasks]}))


def first_items_changed(report: Report) -> Report:
    """A report with two changed prompts, one changed target, one change of both, and another id of the last item."""

    def change(task: TaskRecord) -> TaskRecord:
        prompts = ["new", "new", *task.prompt_hashes[2:]]
        targets = [task.target_hashes[0], "new", "new", *task.target_hashes[3:]]
        items = [*task.items[:-1], f"{task.name}-new"]
        return task.model_copy(update={"prompt_hashes": prompts, "target_hashes": targets, "items": items})

    return with_tasks(report, change)


def moved_users(report: Report) -> Report:
    def change(task: TaskRecord) -> TaskRecord:
        return task.model_copy(update={"users": [*task.users[1:], task.users[0]] if task.users else None})

    return with_tasks(report, change)


def without(report: Report, method: str) -> Report:
    return seal(report.model_copy(update={"arms": [arm for arm in report.arms if arm.method != method]}))


def failing(report: Report) -> Report:
    def fail(arm: ArmRecord) -> ArmRecord:
        first = f"{'persona' if arm.task == 'persona' else 'arithmetic'}-000"
        return arm.model_copy(update={"failed": {first: "generate: boom"}, "scores": [0.0, *arm.scores[1:]]})

    return seal(report.model_copy(update={"arms": [fail(arm) for arm in report.arms]}))


def diffed(a: Report, b: Report, **options: Any) -> ReportDiff:
    return diff_reports(Side(a, "A"), Side(b, "B"), DiffOptions(**options))


def arm_of(diff: ReportDiff, name: str) -> ArmDiff:
    return next(arm for arm in diff.arms if arm.name == name)


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


def test_only_matching_items_are_tested_in_whatever_order() -> None:
    a, b = BASE.report(), first_items_changed(WORSE.report())
    diff = diffed(a, b)
    task = diff.tasks[0]
    assert task.n_matching == 60 - 4
    assert (task.added, task.removed) == (("arithmetic-new",), ("arithmetic-059",))
    assert [(c.item, c.what) for c in task.changed] == [
        ("arithmetic-000", "prompt"),
        ("arithmetic-001", "prompt and target"),
        ("arithmetic-002", "target"),
    ]
    found = arm_of(diff, "arithmetic/plain").comparison
    left, right = (np.asarray(r.group("arithmetic", "plain")[0].scores)[3:59] for r in (a, b))
    assert found
    assert found.delta == pytest.approx(float(np.mean(right - left)))
    assert found.n_items == 56

    def backwards(task: TaskRecord) -> TaskRecord:
        lists = ("items", "users", "prompt_hashes", "target_hashes")
        values = {name: getattr(task, name) for name in lists}
        return task.model_copy(update={name: v and v[::-1] for name, v in values.items()})

    turned = with_tasks(b, backwards)
    arms = [arm.model_copy(update={"scores": arm.scores[::-1]}) for arm in turned.arms]
    again = diffed(a, turned.model_copy(update={"arms": arms}))
    assert again.arms == diff.arms


def test_swapping_the_sides_turns_every_sign() -> None:
    there, back = diffed(BASE.report(), WORSE.report()), diffed(WORSE.report(), BASE.report())
    for left, right in zip(there.arms, back.arms, strict=True):
        assert left.comparison
        assert right.comparison
        assert left.comparison.delta == pytest.approx(-right.comparison.delta)
        assert left.p_holm == pytest.approx(right.p_holm, abs=0.01)
        assert [c.item for c in left.regressed] == [c.item for c in right.improved]


def test_shared_training_seeds_are_paired_and_the_others_named() -> None:
    diff = diffed(BASE.report(), replace(BASE, train_seeds=(2, 1, 7)).report())
    arm = arm_of(diff, "persona/mipo-random")
    assert arm.comparison
    assert arm.comparison.n_seeds == 2
    assert arm.comparison.delta == 0
    assert "training seeds on one side only, left out: 0, 7" in arm.warnings


def test_one_item_is_untestable_and_no_gate_passes_it() -> None:
    made = replace(BASE, n_math=1, suites=("math",), train_seeds=())
    diff = diffed(made.report(), made.report())
    assert all(arm.p_holm is None for arm in diff.arms)
    assert apply_gate(diff, Gate("regression")).code == 4


def test_a_regression_decides_before_what_cannot_be_compared() -> None:
    b = with_tasks(WORSE.report(), lambda t: t.model_copy(update={"scorer_hash": "new"}) if t.name == "persona" else t)
    assert apply_gate(diffed(BASE.report(), b), Gate("regression")).code == 1


def test_an_arm_or_task_that_is_new_passes() -> None:
    less = without(replace(BASE, suites=("math",)).report(), "few-shot")
    assert apply_gate(diffed(less, BASE.report()), Gate("regression")).code == 0
    assert apply_gate(diffed(BASE.report(), replace(BASE, suites=("math",)).report()), Gate("regression")).code == 4


def test_a_noise_twin_is_no_arm() -> None:
    assert not any("A/A" in arm.method for arm in diffed(BASE.report(), BASE.report()).arms)


def test_the_gate_holds_its_error_rate_on_null_reports() -> None:
    """Holm at 5%: of 60 pairs that differ by noise alone at most 8 may fail (one in 200 by chance)."""
    a = replace(BASE, suites=("personalized",), train_seeds=()).report()
    failed = sum(apply_gate(diffed(a, with_noise(a, seed)), Gate("regression")).code == 1 for seed in range(60))
    assert failed <= 8


def with_noise(report: Report, seed: int) -> Report:
    rng = np.random.default_rng(seed)
    arms = []
    for arm in report.arms:
        moved = np.clip(np.asarray(arm.scores) + rng.normal(0, 0.05, len(arm.scores)), 0, 1)
        arms.append(arm.model_copy(update={"scores": moved.tolist()}))
    return report.model_copy(update={"arms": arms})


def test_different_users_name_the_item() -> None:
    with pytest.raises(NotComparableError, match=r"item 'persona-002' .* 'user-00' in A and to 'user-01'"):
        diffed(BASE.report(), moved_users(BASE.report()))


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


def test_how_many_processes_shared_a_run_is_no_difference() -> None:
    one = Made(n_math=4, n_users=2).report()
    other = one.model_copy(update={"config": {**one.config, "processes": 2, "threads": 1}})
    assert environment_notes(one, other) == ()
    changed = one.model_copy(update={"config": {**one.config, "average": "macro"}})
    assert len(environment_notes(one, changed)) == 1
