"""Mutual information in a run and in its report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import Answerer, FakeEngine, FakeGenerator, PanicError, SilentDisplay
from made_reports import Made

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.errors import ConfigError, ModelError
from mipo_bench.harness.generators import model_folder
from mipo_bench.harness.generators.hf_generator import HFGenerator
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.protocols import Generator, Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.store.run_store import Store
from mipo_bench.reports.analysis.information import InformationBlock, rank_correlation
from mipo_bench.reports.pages.report import report_page
from mipo_bench.reports.records.information import InformationRecord, MeasuredRecord
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import parse_report, seal, to_json
from mipo_bench.reports.render.latex import page_to_latex
from mipo_bench.reports.render.markdown import to_markdown


def vague(request: Request) -> str:
    """A response that does not depend on the profile, different for each request."""
    return f"Here is something. Answer: {request.seed % 89}"


def attentive(request: Request) -> str:
    """A response that repeats the profile."""
    return request.prompt.partition("<user>")[0][-60:] + f" Answer: {request.seed % 7}"


class Mute(FakeGenerator):
    """A model without probabilities."""

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        raise ModelError("this model tells no probabilities.")


class Broken(FakeGenerator):
    """A model whose probabilities cannot be computed."""

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        raise RuntimeError("out of memory")


class Panicking(FakeGenerator):
    """A model whose native library panics."""

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        raise PanicError("rust")


class Engine(FakeEngine):
    """An engine whose base model is of another kind."""

    def __init__(self, kind: type[FakeGenerator], answer: Answerer, trained: Answerer) -> None:
        super().__init__(answer, trained)
        self.other = kind("base", answer)

    @property
    def base(self) -> Generator:
        return self.other


def run(folder: Path, engine: FakeEngine, *settings: str, **options: Any) -> Report:
    config = load_config(None, settings, {"limit": 24, "seeds": 2, "tasks": ["persona"], **options})
    return Run(RunContext(config, make_plan(config), Store(folder), engine, SilentDisplay())).execute()


def test_training_on_the_profile_gains_information(tmp_path: Path) -> None:
    report = run(tmp_path, FakeEngine(vague, attentive))
    [block] = report.information
    assert (block.task, block.over, block.reference) == ("persona", "contexts", "profile")
    assert block.contexts == [1, 4, 7]
    assert {c.method for c in block.changes} == {"mipo-random", "mipo-missing"}
    for change in block.changes:
        assert change.delta > 1
        assert change.ci_low is not None
        assert change.ci_low > 0
        assert change.n_clusters == 8
    assert {m.train_seed for m in block.measured} == {None, 0}  # one training seed unless more are wanted
    lines = [line for line in report_page(report).conclusions if "information of responses about the user" in line]
    assert len(lines) == 2
    assert all("rises with" in line for line in lines)


def test_more_training_seeds_on_request(tmp_path: Path) -> None:
    [block] = run(tmp_path, FakeEngine(vague, attentive), "information.seeds=2").information
    assert {m.train_seed for m in block.measured} == {None, 0, 1}
    assert {c.n_seeds for c in block.changes} == {2}


def test_other_arms_on_request_each_under_its_own_prompts(tmp_path: Path) -> None:
    report = run(tmp_path, FakeEngine(vague, attentive), "information.arms=[few-shot]")
    [block] = report.information
    assert (block.reference, block.changes) == ("few-shot", [])
    assert [m.method for m in block.measured] == ["few-shot"]


def test_an_unknown_arm_is_refused() -> None:
    config = load_config(None, ["information.arms=[few-shots]"], {})
    with pytest.raises(ConfigError, match=r"unknown arm of information.arms 'few-shots'. Did you mean 'few-shot'"):
        make_plan(config)


def test_it_can_be_turned_off_and_is_then_on_no_page(tmp_path: Path) -> None:
    report = run(tmp_path, FakeEngine(vague, attentive), "information.arms=[]")
    assert report.information == []
    assert "information of responses" not in to_markdown(report)


def test_a_plan_with_unknown_prompts_measures_nothing(tmp_path: Path) -> None:
    config = load_config(None, [], {"limit": 24, "seeds": 2, "tasks": ["persona"], "recipes": []})
    plan = replace(make_plan(config), prompts_known=False)
    context = RunContext(config, plan, Store(tmp_path), FakeEngine(vague, attentive), SilentDisplay())
    assert Run(context).execute().information == []


def test_a_model_without_probabilities_is_a_note_and_the_rest_goes_on(tmp_path: Path) -> None:
    report = run(tmp_path, Engine(Mute, vague, attentive))
    assert report.information == []
    assert not report.failures
    assert any("was not measured: this model tells no probabilities" in note for note in report.notes)
    assert len(report.arms) > 4


@pytest.mark.parametrize(("kind", "error"), [(Broken, "RuntimeError"), (Panicking, "PanicError")])
def test_a_failure_is_recorded_and_the_rest_goes_on(kind: type[FakeGenerator], error: str, tmp_path: Path) -> None:
    report = run(tmp_path, Engine(kind, vague, attentive))
    assert [(h.stage, h.error) for h in report.failures] == [("information", error), ("guards", error)]
    assert len(report.arms) > 4


def test_without_users_the_figures_are_over_prompts(tmp_path: Path) -> None:
    blocks = run(tmp_path, FakeEngine(vague, attentive), tasks=["arithmetic"]).information
    assert [b.over for b in blocks] == ["prompts"]
    assert "about the prompt" in " ".join(
        report_page(Made().report().model_copy(update={"information": blocks})).conclusions
    )


def test_every_format_shows_it_and_the_file_keeps_it(tmp_path: Path) -> None:
    report = seal(run(tmp_path, FakeEngine(vague, attentive)))
    again = parse_report(to_json(report), "report")
    assert again.information == report.information
    for text in (to_markdown(again), page_to_latex(report_page(again))):
        assert "information of responses about their user" in text
        assert "NCE 7" in text


MEASURED = [
    MeasuredRecord(method="profile", train_seed=None, weights="own", pmi=[[0.0, 1.0, 0.5, 0.2]]),
    MeasuredRecord(method="mipo", train_seed=0, weights="own", pmi=[[1.0, 3.0, 1.5, 0.2]]),
    MeasuredRecord(method="mipo", train_seed=0, weights="base", pmi=[[0.0, 1.0, 0.5, 0.2]]),
]
SCORES = {("profile", None): np.array([0.0, 0.2, 0.2, 0.5]), ("mipo", 0): np.array([0.1, 0.6, 0.2, 0.3])}


def block(users: Sequence[str] | None = None) -> InformationBlock:
    return InformationBlock([4], ["a", "b", "c", "d"], users, MEASURED, "micro", 0.05)


def test_changes_are_paired_means() -> None:
    [change] = block().changes("profile", SCORES)
    assert change.delta == pytest.approx(1.0)
    assert change.text_delta == 0
    assert change.score_delta == pytest.approx(0.075)
    assert change.rank_correlation == pytest.approx(np.corrcoef([2.5, 4, 2.5, 1], [3, 4, 2, 1])[0, 1])
    assert (change.n_items, change.n_clusters) == (4, 4)


def test_users_are_the_clusters() -> None:
    [change] = block(["u", "u", "v", "v"]).changes("profile", SCORES)
    assert change.n_clusters == 2


def test_figures_without_variance_have_no_interval() -> None:
    flat = [MeasuredRecord(method="profile", train_seed=None, weights="own", pmi=[[0.0, 0.0, 0.0]])]
    [estimate] = InformationBlock([1], ["a", "b", "c"], None, flat, "micro", 0.05).estimates()
    assert (estimate.mean, estimate.ci_low, estimate.ci_high) == (0, None, None)
    assert [w.code for w in estimate.warnings] == ["zero_variance"]


def test_an_estimate_at_the_ceiling_is_footnoted() -> None:
    sure = [MeasuredRecord(method="profile", train_seed=None, weights="own", pmi=[[30.0, 31.0, 29.0]])]
    [estimate] = InformationBlock([16], ["a", "b", "c"], None, sure, "micro", 0.05).estimates()
    assert estimate.nce == pytest.approx(np.log(17))
    assert "ceiling" in [w.code for w in estimate.warnings]


def test_a_rank_correlation_needs_variation() -> None:
    assert rank_correlation(np.array([1.0, 2.0]), np.array([1.0, 2.0])) is None
    assert rank_correlation(np.ones(5), np.arange(5.0)) is None
    assert rank_correlation(np.arange(5.0), -np.arange(5.0)) == pytest.approx(-1)


def test_the_embedded_model_knows_whose_response_it_is(tmp_path: Path) -> None:
    from mipo_bench.harness.backends.hf import HFBackend
    from mipo_bench.harness.generators.placement import resolve_placement

    config = load_config(None, ["information.contexts=4"], {"limit": 9, "tasks": ["persona"], "recipes": []})
    config = config.model_copy(update={"baselines": ("profile",), "noise_floor": False, "threads": 1})
    store = Store(tmp_path)
    engine = HFBackend(config, model_folder.embedded_folder(), resolve_placement(config), store)
    [block] = Run(RunContext(config, make_plan(config), store, engine, SilentDisplay())).execute().information
    assert isinstance(block, InformationRecord)
    assert block.end
    [one, *_] = block.estimates
    assert one.contexts == 1
    assert one.mean > 1
    assert one.ci_low is not None
    assert one.ci_low > 0


def test_the_end_of_the_embedded_models_turn_is_known() -> None:
    generator = HFGenerator(model_folder.embedded_folder(), "embedded", Placement("cpu", "float32", threads=1))
    assert generator.end_of_turn_token == generator.tokenizer.eos_token == "<|end|>"
    assert "<|end|>" in generator.control_tokens
