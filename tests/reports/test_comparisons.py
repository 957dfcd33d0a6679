"""The comparisons of a report: their pairs of methods, directions and families."""

from __future__ import annotations

import random

import pytest
from made_reports import Made

from mipo_bench.reports.analysis.comparisons import ComparisonPlan, comparisons, estimates
from mipo_bench.reports.analysis.weak_baselines import with_below_base_warnings
from mipo_bench.reports.pages.report import conclusions, report_page
from mipo_bench.reports.records.report import ArmRecord, CheckpointRecord, ComparisonRecord, TaskRecord
from mipo_bench.reports.stats import benjamini_hochberg, holm

N = 40
PLANNED = [
    ("t", "plain", False),
    ("t", "few-shot", False),
    ("t", "plain (A/A)", False),
    ("t", "good", True),
    ("t", "bad", True),
]
DECLARED = ComparisonPlan("micro", 0.05, PLANNED, 3)
TASK = TaskRecord(
    name="t",
    suite="personalized",
    version=1,
    description="",
    binary=False,
    reference="plain",
    scorer_hash="s",
    items=[f"i{i}" for i in range(N)],
    users=[f"u{i // 4}" for i in range(N)],
    prompt_hashes=["p"] * N,
    target_hashes=["t"] * N,
)


def arm(method: str, mean: float, seed: int | None = None) -> ArmRecord:
    rng = random.Random(f"{method}{seed}")
    return ArmRecord(
        task="t",
        method=method,
        baseline="plain",
        recipe=method if seed is not None else None,
        train_seed=seed,
        sample_seed=0,
        noise="A/A" in method,
        model_digest="m",
        scores=[min(1, max(0, rng.gauss(mean, 0.1))) for _ in range(N)],
        parts={},
        n_tokens=[10] * N,
        truncated=["i1"],
        unparsed=["i2", "i3"],
        failed={},
    )


ARMS = [
    arm("plain", 0.5),
    arm("few-shot", 0.6),
    arm("plain (A/A)", 0.5),
    *(arm("good", 0.8, s) for s in range(3)),
    *(arm("bad", 0.3, s) for s in range(3)),
]


@pytest.fixture(scope="module")
def made() -> dict[tuple[str, str, str], ComparisonRecord]:
    return {(c.family, c.base, c.method): c for c in comparisons([TASK], ARMS, DECLARED)}


def test_the_families(made: dict[tuple[str, str, str], ComparisonRecord]) -> None:
    assert set(made) == {
        ("primary", "plain", "good"),
        ("primary", "plain", "bad"),
        ("exploratory", "few-shot", "good"),
        ("exploratory", "few-shot", "bad"),
        ("exploratory", "plain", "few-shot"),
        ("noise", "plain", "plain (A/A)"),
    }


def test_a_better_method_has_a_positive_delta(made: dict[tuple[str, str, str], ComparisonRecord]) -> None:
    good, bad = made["primary", "plain", "good"], made["primary", "plain", "bad"]
    assert good.delta == pytest.approx(0.3, abs=0.06)
    assert bad.delta == pytest.approx(-0.2, abs=0.06)
    assert good.relative_delta == pytest.approx(0.6, abs=0.15)
    assert good.ci_low is not None
    assert good.ci_low > 0
    assert good.p_adjusted is not None
    assert good.p_adjusted < 0.05


def test_seeds_and_users_are_both_counted(made: dict[tuple[str, str, str], ComparisonRecord]) -> None:
    good, few = made["primary", "plain", "good"], made["exploratory", "plain", "few-shot"]
    assert (good.test, good.n_items, good.n_clusters, good.n_seeds) == ("share-weighted-t", N, 10, 3)
    assert (few.test, few.n_clusters, few.n_seeds) == ("sign-flip-exact", 10, 0)


def test_the_primary_family_has_its_sensitivity(made: dict[tuple[str, str, str], ComparisonRecord]) -> None:
    assert {c.family for c in made.values() if c.sensitivity} == {"primary"}
    found = made["primary", "plain", "good"].sensitivity
    assert found is not None
    assert found.p_cluster in (TASK.users or ())
    assert len(found.top_items) == 5
    assert found.top_share is not None
    assert 5 / N < found.top_share < 0.5
    assert "rests_on_one" not in {w.code for w in made["primary", "plain", "good"].warnings}


def test_a_finding_that_rests_on_one_user_is_named() -> None:
    """Six users gain with one seed, p = 2^-5 with all of them and 2^-4 without one of them."""
    users = [f"u{min(i // 4, 6)}" for i in range(N)]
    gains = [0.1 + 0.01 * (i // 4) if i < 24 else 0.0 for i in range(N)]
    base, better = arm("plain", 0.5), arm("good", 0.5, 0)
    better = better.model_copy(update={"scores": [s + g for s, g in zip(base.scores, gains, strict=True)]})
    task = TASK.model_copy(update={"users": users})
    found = next(c for c in comparisons([task], [base, better], DECLARED) if c.method == "good")
    assert found.p_value == 2**-5
    assert found.sensitivity is not None
    assert found.sensitivity.p_without == 2**-4
    last = found.warnings[-1] if found.warnings[-1].code == "rests_on_one" else found.warnings[-2]
    assert last.message.startswith(f"without user {found.sensitivity.p_cluster}, p is .062 before adjustment")


def test_a_long_name_is_shortened_in_the_table() -> None:
    users = [f"{user}-{'0123456789abcdef' * 3}" for user in TASK.users or ()]
    task = TASK.model_copy(update={"users": users})
    report = (
        Made()
        .report()
        .model_copy(update={"tasks": [task], "arms": ARMS, "comparisons": comparisons([task], ARMS, DECLARED)})
    )
    tables = [table for section in report_page(report).sections for table in section.tables]
    rows = next(table.rows for table in tables if table.title.startswith("sensitivity"))
    assert {row[0] for row in rows} == {"good", "bad"}
    assert all("-01234...89abcdef" in row[2] and len(row[2]) <= 25 for row in rows)


def test_each_family_has_its_own_correction(made: dict[tuple[str, str, str], ComparisonRecord]) -> None:
    for family, adjust in (("primary", holm), ("exploratory", benjamini_hochberg)):
        members = [c for (f, _, _), c in made.items() if f == family]
        assert [c.p_adjusted for c in members] == adjust([c.p_value for c in members])
    assert made["noise", "plain", "plain (A/A)"].p_adjusted is None


def test_estimates_count_what_went_wrong_over_seeds() -> None:
    found = {e.method: e for e in estimates([TASK], ARMS, DECLARED)}
    assert list(found) == [m for _, m, _ in PLANNED]
    assert (found["plain"].truncated, found["plain"].unparsed) == (1, 2)
    assert (found["good"].truncated, found["good"].unparsed, found["good"].n_seeds) == (3, 6, 3)
    assert found["plain"].n_clusters == 10


def test_a_lost_method_stays_in_its_family() -> None:
    lost = [a for a in ARMS if a.method != "bad"]
    found = {c.method: c for c in comparisons([TASK], lost, DECLARED) if c.family == "primary"}
    assert found["bad"].delta is None
    assert found["bad"].warnings[0].code == "untestable"
    good = found["good"]
    assert good.p_value is not None
    assert good.p_adjusted == min(1, 2 * good.p_value)


def test_missing_seeds_are_said() -> None:
    fewer = [a for a in ARMS if (a.method, a.train_seed) != ("good", 2)]
    found = {c.method: c for c in comparisons([TASK], fewer, DECLARED) if c.family == "primary"}
    assert "2 of 3 training seeds completed" in [w.message for w in found["good"].warnings]


RIVALS = ComparisonPlan("micro", 0.05, [*PLANNED, ("t", "sft", True)], 3, frozenset({"sft"}))


def test_trained_baselines_are_exploratory_and_everybody_else_is_held_against_them() -> None:
    sft = [arm("sft", 0.4, s) for s in range(3)]
    made = {(c.family, c.base, c.method): c for c in comparisons([TASK], [*ARMS, *sft], RIVALS)}
    assert {key for key in made if "sft" in key} == {
        ("exploratory", "sft", "good"),
        ("exploratory", "sft", "bad"),
        ("exploratory", "plain", "sft"),
    }
    found = made["exploratory", "sft", "good"]
    assert found.n_seeds == 3
    assert found.delta == pytest.approx(0.4, abs=0.05)
    alone = comparisons([TASK], ARMS, DECLARED)
    primary = [c for c in made.values() if c.family == "primary"]
    assert primary == [c for c in alone if c.family == "primary"]  # more baselines do not change the primary family


def test_two_trained_methods_meet_under_the_seeds_that_both_have() -> None:
    sft = [arm("sft", 0.4, s) for s in (1, 2)]
    made = {(c.base, c.method): c for c in comparisons([TASK], [*ARMS, *sft], RIVALS)}
    found = made["sft", "good"]
    assert found.n_seeds == 2
    assert "missing_seeds" in {w.code for w in found.warnings}
    other = [arm("sft", 0.4, 7)]
    made = {(c.base, c.method): c for c in comparisons([TASK], [*ARMS, *other], RIVALS)}
    assert [w.code for w in made["sft", "good"].warnings] == ["untestable"]
    assert made["plain", "sft"].delta is not None


def test_a_trained_baseline_below_the_base_model_is_flagged_with_its_curve() -> None:
    sft = [arm("sft", 0.4, s) for s in range(3)]
    curve = [{"step": n + 1, "loss": 2.0 - n / 10} for n in range(8)]
    points = [CheckpointRecord(task="t", recipe="sft", train_seed=0, digest="d", lineage={"curve": curve})]
    made = with_below_base_warnings(
        comparisons([TASK], [*ARMS, *sft], RIVALS), [TASK], points, RIVALS.trained_baselines, RIVALS.alpha
    )
    marked = {(c.base, c.method): w.message for c in made for w in c.warnings if w.code == "below_base"}
    assert set(marked) == {("plain", "sft"), ("sft", "good"), ("sft", "bad")}
    for message in marked.values():
        assert message.startswith("sft ends below the base model (-.1")
        assert message.endswith("beating it shows little. Its training: loss 2.000 to 1.350 in 8 steps")


def test_a_trained_baseline_above_the_base_model_is_not_flagged() -> None:
    made = comparisons([TASK], [*ARMS, *(arm("sft", 0.7, s) for s in range(3))], RIVALS)
    assert with_below_base_warnings(made, [TASK], [], RIVALS.trained_baselines, RIVALS.alpha) == made


def test_the_answer_names_the_best_prompting_and_the_best_trained_baseline_apart() -> None:
    report = Made().report()
    first = next(c for c in report.comparisons if c.family == "primary")
    held = first.model_copy(update={"family": "exploratory", "base": "sft", "delta": -0.25, "p_adjusted": 0.5})
    sft = {"method": "sft", "recipe": "sft"}
    arms = [a.model_copy(update=sft) for a in report.arms if a.task == first.task and a.recipe]
    estimates = [e.model_copy(update={"method": "sft", "mean": 0.99}) for e in report.estimates if e.task == first.task]
    with_sft = report.model_copy(
        update={
            "arms": [*report.arms, *arms],
            "estimates": [*report.estimates, estimates[0]],
            "comparisons": [*report.comparisons, held],
        }
    )
    before, after = next(iter(conclusions(report))), next(iter(conclusions(with_sft)))
    assert after == f"{before[:-1]}; -.250 to the best trained baseline, sft (exploratory, p ~ .500)."
