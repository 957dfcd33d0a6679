"""Figures of a model that are no log-probabilities: the item fails with a reason, and nothing of it is stored."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeGenerator

from mipo_bench.harness.core.progress import Stage
from mipo_bench.harness.errors import StageError
from mipo_bench.harness.evaluation.cached_answers import answer, likelihoods, likelihoods_or_reasons
from mipo_bench.harness.protocols import Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Decoding, Response

WRONG = [math.nan, -math.inf, math.inf, 0.5]


class ForeignGenerator(FakeGenerator):
    """An engine that gives a wrong figure for prompts with the word `wrong`."""

    def __init__(self, figure: float) -> None:
        super().__init__("foreign", lambda request: request.prompt)
        self.figure = figure

    def _one(self, request: Request) -> Response:
        values = (-1.0, self.figure if "wrong" in request.prompt else -2.0)
        return replace(super()._one(request), option_logprobs=values)

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        for position, question in enumerate(asked):
            figure = self.figure if "wrong" in question.prompt else -2.0
            yield position, tuple(Likelihood(figure, 1, greedy=False) for _ in question.texts)


@pytest.mark.parametrize("figure", WRONG)
def test_a_response_with_a_wrong_figure_is_a_failed_one(figure: float, tmp_path: Path) -> None:
    requests = [Request(prompt, 0, Decoding(0, 0.0), ("a", "b")) for prompt in ("right", "wrong")]
    generator, store = ForeignGenerator(figure), Store(tmp_path)
    right, wrong = answer(generator, requests, store, Stage("s", "responses"))
    assert right.option_logprobs == (-1.0, -2.0)
    assert wrong.failed
    assert f"the log-probability {figure}" in wrong.text
    asked = len(generator.asked)
    answer(generator, requests, store, Stage("s", "responses"))
    assert len(generator.asked) == asked + 1  # the wrong one was not stored


def test_a_response_with_too_few_figures_is_a_failed_one(tmp_path: Path) -> None:
    request = Request("right", 0, Decoding(0, 0.0), ("a", "b", "c"))
    (found,) = answer(ForeignGenerator(0.0), [request], Store(tmp_path), Stage("s", "responses"))
    assert (found.finish, found.text) == ("failed", "the model gave 2 log-probabilities of 3 options")


@pytest.mark.parametrize("figure", WRONG)
def test_a_wrong_likelihood_is_a_reason_and_is_not_stored(figure: float, tmp_path: Path) -> None:
    requests = [LikelihoodRequest(prompt, ("text",)) for prompt in ("right", "wrong")]
    generator, store = ForeignGenerator(figure), Store(tmp_path)
    right, wrong = likelihoods_or_reasons(generator, requests, store, Stage("s", "prompts"))
    assert right == (Likelihood(-2.0, 1, greedy=False),)
    assert isinstance(wrong, str)
    with pytest.raises(StageError, match="the log-probability"):
        likelihoods(generator, requests, store, Stage("s", "prompts"))
    repaired = ForeignGenerator(-3.0)
    assert likelihoods(repaired, requests, store, Stage("s", "prompts"))[1][0].logprob == -3.0


def test_a_rounded_certainty_is_kept(tmp_path: Path) -> None:
    requests = [LikelihoodRequest("wrong", ("text",))]
    found = likelihoods(ForeignGenerator(1e-6), requests, Store(tmp_path), Stage("s", "prompts"))
    assert found[0][0].logprob == 1e-6
