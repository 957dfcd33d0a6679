"""Content keys and reuse of answers: the key of an answer contains everything that can change it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeGenerator

from mipo_bench.harness.backends.hf import checkpoint_key
from mipo_bench.harness.config.schema import TrainConfig
from mipo_bench.harness.core.progress import Stage
from mipo_bench.harness.errors import PairsError
from mipo_bench.harness.evaluation.cached_answers import FLUSH, answer, likelihood_key, likelihoods, response_key
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.protocols import Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.training.job import Training
from mipo_bench.harness.training.pairs import PairSet, PairSource, make_pairs
from mipo_bench.harness.types import Decoding, Response

PLUGINS = load_plugins()
REQUEST = Request("prompt", 1, Decoding(8, 0.5, 0.9), ("a", "b"))


def echo(request: Request) -> str:
    return f"{request.prompt}|{request.seed}"


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, prompt="prompt "),
        replace(REQUEST, seed=2),
        replace(REQUEST, options=("a", "c")),
        replace(REQUEST, options=()),
        replace(REQUEST, decoding=Decoding(9, 0.5, 0.9)),
        replace(REQUEST, decoding=Decoding(8, 0.6, 0.9)),
        replace(REQUEST, decoding=Decoding(8, 0.5, 0.8)),
        replace(REQUEST, decoding=Decoding(8, 0.5, 0.9, ("\n",))),
        replace(REQUEST, contrast=""),
        replace(REQUEST, contrast="other", contrast_weight=1.0),
    ],
)
def test_every_part_of_a_request_changes_its_key(other: Request) -> None:
    generator = FakeGenerator("g", echo)
    assert response_key(generator, other) != response_key(generator, REQUEST)


def test_another_model_has_other_keys_and_greedy_answers_ignore_the_seed() -> None:
    one, two = FakeGenerator("one", echo), FakeGenerator("two", echo)
    assert response_key(one, REQUEST) != response_key(two, REQUEST)
    greedy = replace(REQUEST, decoding=Decoding(8, 0.0))
    assert response_key(one, greedy) == response_key(one, replace(greedy, seed=2))


def requests(n: int) -> list[Request]:
    return [replace(REQUEST, prompt=f"p{i}", options=()) for i in range(n)]


def test_answers_come_in_order_and_equal_requests_are_computed_once(tmp_path: Path) -> None:
    generator, asked = FakeGenerator("g", echo), requests(10)
    found = answer(generator, [*asked, *reversed(asked)], Store(tmp_path), Stage("s", "responses"))
    assert [r.text for r in found] == [echo(r) for r in (*asked, *reversed(asked))]
    assert len(generator.asked) == 10


def test_only_answers_that_the_store_lacks_are_computed(tmp_path: Path) -> None:
    store, generator, asked = Store(tmp_path), FakeGenerator("g", echo), requests(8)
    store.put_responses([(response_key(generator, asked[0]), Response("old", 1, 1, "stop"))])
    stage = Stage("s", "responses")
    found = answer(generator, asked, store, stage)
    assert [r.text for r in found] == ["old", *(echo(r) for r in asked[1:])]
    assert sorted(r.prompt for r in generator.asked) == [r.prompt for r in asked[1:]]
    assert (stage.done, stage.total) == (8, 8)
    again = FakeGenerator("g", echo)
    answer(again, asked, store, Stage("s", "responses"))
    assert again.asked == []


def test_answers_are_stored_as_they_come(tmp_path: Path) -> None:
    """The end of the process loses at most the answers since the last transaction."""
    store, asked, answered = Store(tmp_path), requests(2 * FLUSH + 3), 0

    def fails_near_the_end(request: Request) -> str:
        nonlocal answered
        answered += 1
        if answered == 2 * FLUSH + 2:
            raise KeyboardInterrupt
        return echo(request)

    generator = FakeGenerator("g", fails_near_the_end)
    with pytest.raises(KeyboardInterrupt):
        answer(generator, asked, store, Stage("s", "responses"))
    assert len(store.responses([response_key(generator, r) for r in asked])) == 2 * FLUSH


def test_likelihoods_come_in_order_and_are_computed_once(tmp_path: Path) -> None:
    store, generator = Store(tmp_path), FakeGenerator("g", echo)
    asked = [LikelihoodRequest("one two", ("two", "three")), LikelihoodRequest("x", ("three",))]
    found = likelihoods(generator, asked, store, Stage("s", "prompts"))
    assert [[x.logprob for x in row] for row in found] == [[-0.1, -1.0], [-1.0]]
    stage = Stage("s", "prompts")
    assert likelihoods(generator, asked, store, stage) == found
    assert (stage.done, stage.total, stage.tokens) == (2, 2, 0)
    assert likelihood_key(generator, "a", "b") != likelihood_key(generator, "ab", "")


class RecordingGenerator(FakeGenerator):
    """A generator that remembers the likelihoods it was asked for."""

    def __init__(self) -> None:
        super().__init__("g", echo)
        self.questions: list[LikelihoodRequest] = []

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        self.questions += asked
        return super().likelihoods(asked)


def test_a_prompt_is_asked_once_and_only_for_texts_that_the_store_lacks(tmp_path: Path) -> None:
    store, generator = Store(tmp_path), RecordingGenerator()
    asked = [LikelihoodRequest("one two", ("two",)), LikelihoodRequest("one two", ("three", "two"))]
    found = likelihoods(generator, asked, store, Stage("s", "prompts"))
    assert [[x.logprob for x in row] for row in found] == [[-0.1], [-1.0, -0.1]]
    assert generator.questions == [LikelihoodRequest("one two", ("two", "three"))]
    stage = Stage("s", "prompts")
    likelihoods(generator, [*asked, LikelihoodRequest("one two", ("two", "four five"))], store, stage)
    assert generator.questions[1:] == [LikelihoodRequest("one two", ("four five",))]
    assert (stage.done, stage.total) == (3, 3)


def test_pairs_are_sampled_under_their_own_prompts() -> None:
    task, generator = PLUGINS.tasks["persona"], FakeGenerator("g", echo)
    items = task.items("train")[:6]
    source = PairSource(task, items, PLUGINS.baselines["profile"], PLUGINS.recipes["mipo-missing"], Decoding(8, 1.0), 0)
    pairs = make_pairs(source, generator, generator.answers).pairs
    for pair, item in zip(pairs, items, strict=True):
        assert item.context
        assert pair.item_id == item.id
        assert pair.prompt == PLUGINS.baselines["profile"].messages(item)
        assert item.context in pair.chosen
        assert item.context not in pair.rejected
        assert item.prompt in pair.rejected


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Response("", 1, 0, "stop"), "empty"),
        (Response("text", 1, 8, "length"), "cut at the token limit"),
        (Response("", 1, 0, "overflow"), "prompt too long"),
    ],
)
def test_useless_responses_make_no_pair(bad: Response, reason: str) -> None:
    task, generator = PLUGINS.tasks["persona"], FakeGenerator("g", echo)
    source = PairSource(
        task, task.items("train")[:6], PLUGINS.baselines["profile"], PLUGINS.recipes["mipo-random"], Decoding(8, 1.0), 0
    )

    def one_bad(asked: Sequence[Request]) -> list[Response]:
        return [bad, *generator.answers(asked)[1:]]

    made = make_pairs(source, generator, one_bad)
    assert len(made.pairs) == 5
    assert made.discarded == {reason: 1}


def test_too_few_pairs_because_of_cut_responses_name_the_remedy() -> None:
    task, generator = PLUGINS.tasks["persona"], FakeGenerator("g", echo)
    items = task.items("train")[:6]
    source = PairSource(task, items, PLUGINS.baselines["profile"], PLUGINS.recipes["mipo-random"], Decoding(8, 1.0), 0)
    with pytest.raises(PairsError, match=r"cut at the token limit': 6}\. Raise decoding\.max_new_tokens"):
        make_pairs(source, generator, lambda asked: [Response("text", 1, 8, "length") for _ in asked])


def test_a_contrast_that_leaves_the_prompt_as_it_is_makes_no_pair() -> None:
    task, generator = PLUGINS.tasks["persona"], FakeGenerator("g", echo)
    items = [*task.items("train")[:4], replace(task.items("train")[4], context=None)]
    source = PairSource(task, items, PLUGINS.baselines["profile"], PLUGINS.recipes["mipo-missing"], Decoding(8, 1.0), 0)
    assert make_pairs(source, generator, generator.answers).discarded == {"same prompt": 1}


def test_the_keys_of_stored_work_never_change() -> None:
    """A changed key would make every store compute again: raise the version constants (GENERATION, CODE) instead."""
    request = Request("prompt", 7, Decoding(16, 0.7, 0.9), ("A",), "contrast", 0.5)
    expected = "d26b4d3c1f4295a6afa9eaca916fc614b283cf3256cc4d5cc6275ef13db149c3"
    assert response_key(FakeGenerator("g", lambda _: ""), request) == expected
    pairs, settings = PairSet((), {}, "pairs"), TrainConfig()
    training = Training(Path("m"), "base", "persona", "mipo-random", 1, pairs, settings, Placement())
    expected = "81b359f27f6b2d61b660505b6c38852175a72148f6d770efc1cbc6ac03014f7f"
    assert checkpoint_key(training, ["cpu", "float32"]) == expected
