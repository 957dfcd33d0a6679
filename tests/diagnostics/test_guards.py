"""Guards: their figures on fake models, and the footnote of each figure beyond its threshold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine, FakeGenerator, SilentDisplay
from made_reports import Made

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.protocols import Generator, Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.store.run_store import Store
from mipo_bench.reports.analysis.weak_baselines import with_below_base_warnings
from mipo_bench.reports.pages.report import report_page
from mipo_bench.reports.records.guards import GuardRecord, MarginRecord, NearRecord, OverlapRecord, WordingRecord
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import parse_report, seal, to_json
from mipo_bench.reports.render.latex import page_to_latex
from mipo_bench.reports.render.markdown import to_markdown


def chatty(request: Request) -> str:
    """A response of many distinct words."""
    return " ".join(f"w{(request.seed * (n + 3)) % 997}" for n in range(30)) + f" Answer: {request.seed % 50}"


def parrot(request: Request) -> str:
    """A response of the same words for every prompt, except for a number."""
    return "so it is as it was and will be " * 4 + f"{request.seed % 50}. Answer: 20"


class Mute(FakeGenerator):
    """A model without probabilities."""

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        raise ModelError("this model tells no probabilities.")


class MuteEngine(FakeEngine):
    """An engine whose base model gives no probabilities."""

    @property
    def base(self) -> Generator:
        return Mute("base", self.answer)


def run(folder: Path, engine: FakeEngine, **options: Any) -> Report:
    config = load_config(None, [], {"limit": 30, "seeds": 2, "tasks": ["persona"], **options})
    return Run(RunContext(config, make_plan(config), Store(folder), engine, SilentDisplay())).execute()


def test_every_report_has_guards_of_each_task(tmp_path: Path) -> None:
    report = run(tmp_path, FakeEngine(chatty, parrot), tasks=["persona", "arithmetic"])
    assert [g.task for g in report.guards] == ["persona", "arithmetic"]
    persona = report.guards[0]
    assert [(o.of, o.same) for o in persona.overlap] == [("prompts", 0), ("contexts", 0), ("users", 0)]
    assert [w.method for w in persona.wording] == list(dict.fromkeys(a.method for a in report.arms if not a.noise))[:6]
    assert {m.recipe for m in persona.margins} == {"mipo-random", "mipo-missing"}
    assert all(w.measured == 30 and w.perplexity for w in persona.wording)
    assert all(0 <= m.accuracy <= 1 and m.pairs > 10 for m in persona.margins)


def test_a_training_that_narrows_the_wording_is_footnoted(tmp_path: Path) -> None:
    report = run(tmp_path, FakeEngine(chatty, parrot))
    notes = " ".join(report_page(report).footnotes)
    assert "training lost diversity" in notes
    assert "training made responses more alike" in notes


def test_a_second_run_finds_the_same_guards(tmp_path: Path) -> None:
    first, second = (run(tmp_path, FakeEngine(chatty, parrot)) for _ in range(2))
    assert first.guards == second.guards


def test_a_model_without_probabilities_has_the_other_guards(tmp_path: Path) -> None:
    [guards] = run(tmp_path, MuteEngine(chatty, parrot)).guards
    assert guards.margins == []
    assert all(w.perplexity is None and w.self_bleu is not None for w in guards.wording)


def test_without_training_there_are_only_responses_and_overlap(tmp_path: Path) -> None:
    [guards] = run(tmp_path, FakeEngine(chatty, parrot), recipes=[]).guards
    assert guards.margins == []
    assert guards.wording


def test_a_report_with_guards_comes_back_the_same_and_shows_them_everywhere(tmp_path: Path) -> None:
    report = seal(run(tmp_path, FakeEngine(chatty, parrot)))
    assert parse_report(to_json(report), "report").guards == report.guards
    for text in (to_markdown(report), page_to_latex(report_page(report))):
        assert "guards" in text
        assert "training lost diversity" in text


def test_reports_without_guards_are_shown_as_before() -> None:
    assert not any(
        "guards" in grid.title for section in report_page(Made().report()).sections for grid in section.tables
    )


def wording(method: str, **figures: Any) -> WordingRecord:
    usual = {"responses": 60, "empty": 0, "distinct_2": 0.5, "self_bleu": 0.3, "perplexity": 3.0}
    return WordingRecord.model_validate({"method": method, **usual, **figures})


def notes_of(*, made: Made | None = None, **parts: Any) -> str:
    """The footnotes of a made report with these guards on its first task."""
    report = (made or Made()).report()
    record = {"overlap": [], "wording": [wording("plain"), wording("mipo-random")], "margins": [], **parts}
    guards = GuardRecord.model_validate({"task": "arithmetic", **record})
    shown = report_page(report.model_copy(update={"guards": [guards]}))
    return " ".join(set(shown.footnotes) - set(report_page(report).footnotes))


def trained(**figures: Any) -> list[WordingRecord]:
    return [wording("plain"), wording("mipo-random", **figures)]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"wording": trained(distinct_2=0.39)}, "training lost diversity: distinct-2 fell from .500 to .390"),
        ({"wording": trained(self_bleu=0.41)}, "more alike: self-BLEU-4 rose from .300 to .410"),
        ({"wording": trained(perplexity=6.1)}, "perplexity 6.1 after training, 3.0 before"),
        ({"wording": [wording("plain", empty=1)]}, "1 of 60 responses are empty"),
        ({"margins": [MarginRecord(recipe="mipo-random", pairs=99, margin=4, accuracy=0.96)]}, "trivial negatives"),
        (
            {
                "overlap": [
                    OverlapRecord(
                        of="prompts",
                        evaluation=60,
                        training=100,
                        same=1,
                        near=0,
                        examples=[NearRecord(evaluation="e1", training="t9", similarity=1)],
                    )
                ]
            },
            "1 of 60 evaluation prompts are trained on (such as e1, like t9)",
        ),
        (
            {"overlap": [OverlapRecord(of="contexts", evaluation=60, training=100, same=0, near=2)]},
            "2 of 60 evaluation contexts are near duplicates",
        ),
    ],
)
def test_a_figure_beyond_its_threshold_has_a_footnote(parts: dict[str, Any], words: str) -> None:
    assert words in notes_of(**parts)


@pytest.mark.parametrize(
    "parts",
    [
        {"wording": trained(distinct_2=0.41, self_bleu=0.39, perplexity=5.9)},
        {"wording": [wording("plain"), wording("few-shot", distinct_2=0.1, self_bleu=0.9, perplexity=50.0)]},
        {"wording": trained(distinct_2=None, self_bleu=None, perplexity=None)},
        {"margins": [MarginRecord(recipe="mipo-random", pairs=99, margin=4, accuracy=0.95)]},
        {"overlap": [OverlapRecord(of="contexts", evaluation=200, training=100, same=0, near=2)]},
    ],
)
def test_a_figure_within_its_threshold_has_none(parts: dict[str, Any]) -> None:
    assert notes_of(**parts) == ""


def test_a_trained_method_below_the_base_model_is_flagged_with_its_curve() -> None:
    notes = notes_of(made=Made(gains={"mipo-random": -0.4}))
    assert "ends below the base model" in notes
    assert "Its training: loss .677 to .242 in 30 steps; loss " in notes
    assert "ends below" not in notes_of(made=Made(gains={"mipo-random": 0.1}))


def test_the_footnote_names_a_difference_that_may_be_chance() -> None:
    assert "ends no higher than the base model" in notes_of(made=Made(gains={"mipo-random": -0.13}))


def test_a_baseline_that_ends_below_the_base_model_is_one_footnote() -> None:
    report = Made(gains={"mipo-random": -0.4}).report()
    made = with_below_base_warnings(report.comparisons, report.tasks, report.checkpoints, {"mipo-random"}, report.alpha)
    guards = [GuardRecord(task=task.name, overlap=[], wording=[], margins=[]) for task in report.tasks]
    shown = report_page(report.model_copy(update={"comparisons": made, "guards": guards}))
    below = [note for note in shown.footnotes if "the base model" in note]
    assert len(below) == len(report.tasks)  # by the comparisons and by the guards of each task


def drifted(nats: float) -> Report:
    """A report in which training moved the chosen responses, of -100 nats, by the given number of nats."""
    report = Made().report()
    point = {"step": 1, "loss": 0.5, "reward_chosen": 0.1 * nats, "logp_chosen": -100 + nats}
    lineage = {"settings": {"beta": 0.1}, "curve": [point]}
    checkpoints = [c.model_copy(update={"lineage": lineage}) for c in report.checkpoints]
    guards = GuardRecord(task="arithmetic", overlap=[], wording=[], margins=[])
    return report.model_copy(update={"checkpoints": checkpoints, "guards": [guards]})


def test_chosen_responses_that_are_pushed_down_are_flagged() -> None:
    assert any("log-probability fell by 12.0 nats (12%)" in note for note in report_page(drifted(-12)).footnotes)
    assert not any("log-probability fell" in note for note in report_page(drifted(-8)).footnotes)


def long_and_cut(report: Report) -> Report:
    """A report whose trained arms are twice as long, with a tenth truncated and a tenth unparsed."""
    arms = [
        a.model_copy(
            update={"n_tokens": [2 * n for n in a.n_tokens], "truncated": ["x"] * 6, "unparsed": ["y"] * 6}
            if a.recipe
            else {"truncated": [], "unparsed": []}
        )
        for a in report.arms
    ]
    guards = GuardRecord(task="arithmetic", overlap=[], wording=trained(), margins=[])
    return report.model_copy(update={"arms": arms, "guards": [guards]})


def test_lengths_truncation_and_unparsed_answers_are_flagged() -> None:
    notes = " ".join(report_page(long_and_cut(Made().report())).footnotes)
    assert "longer than the reference's after training" in notes
    assert "10% of the responses were cut" in notes
    assert "no answer could be read in 10%" in notes
