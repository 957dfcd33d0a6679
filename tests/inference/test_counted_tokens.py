"""The engine counts its work on the stage that is shown, as it comes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mipo_bench.harness.core.progress import SilentDisplay
from mipo_bench.harness.generators.hf_generator import HFGenerator
from mipo_bench.harness.generators.model_folder import embedded_folder
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.inference.one_by_one import generate_single
from mipo_bench.harness.inference.tokens import TokenizedRequest
from mipo_bench.harness.protocols import LikelihoodRequest, Request
from mipo_bench.harness.types import Decoding, Message


@pytest.fixture(scope="module")
def generator() -> HFGenerator:
    return HFGenerator(embedded_folder(), "embedded", Placement("cpu", "float32", threads=1, batch_size=4))


def asked_of(generator: HFGenerator) -> list[Request]:
    texts = (f"Where does {name} live?" for name in ("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn"))
    prompts = [generator.render([Message("user", text)], None).text for text in texts]
    return [Request(prompt, n, Decoding(8 + 3 * n, 1.0)) for n, prompt in enumerate(prompts)]


def test_tokens_are_counted_before_their_response_has_ended(generator: HFGenerator) -> None:
    asked = asked_of(generator)
    with SilentDisplay().stage("task plain: evaluation", "responses") as stage:
        found = [(response, stage.tokens) for _, response in generator.generate(asked)]
    first, so_far = found[0]
    assert so_far > first.n_tokens + 1
    assert stage.tokens == sum(r.n_tokens + (r.finish == "stop") for r, _ in found)
    assert stage.pace.characters == sum(len(request.prompt) for request in asked)


def test_a_response_without_options_waits_for_no_other(generator: HFGenerator) -> None:
    asked = asked_of(generator)
    asked[:2] = [replace(request, options=("here", "there")) for request in asked[:2]]
    order = [position for position, _ in generator.generate(asked)]
    assert set(order[-2:]) == {0, 1}


def test_tokens_of_a_model_without_slots_are_counted(generator: HFGenerator) -> None:
    request = asked_of(generator)[0]
    decoder = generator.decoder
    with SilentDisplay().stage("task plain: evaluation", "responses") as stage:
        prompt = decoder.codec.encode_prompt(request.prompt)
        tokens = generate_single(decoder.model, decoder.codec, TokenizedRequest(0, request, prompt))
    assert stage.tokens == len(tokens) > 0


def test_likelihoods_are_counted_in_parts(generator: HFGenerator) -> None:
    asked = [
        LikelihoodRequest(request.prompt * n, ("here", "over there")) for request in asked_of(generator) for n in (1, 9)
    ]
    with SilentDisplay().stage("task: guards", "prompts") as stage:
        found = [row for _, row in generator.likelihoods(asked)]
    assert stage.pace.characters == sum(request.characters for request in asked)
    assert stage.tokens == sum(x.n_tokens for row in found for x in row)


def test_likelihoods_are_counted_prompt_by_prompt_and_batch_by_batch(generator: HFGenerator) -> None:
    codec, counted = generator.decoder.codec, list[tuple[int, int]]()
    questions = [(codec.encode_prompt(q.prompt), [codec.encode("here and there")]) for q in asked_of(generator)]
    generator.decoder.scorer.likelihoods(questions, lambda computed, scored: counted.append((computed, scored)))
    assert [computed for computed, scored in counted if not scored] == [len(prompt) for prompt, _ in questions]
    assert sum(scored for _, scored in counted) == sum(len(text) for _, texts in questions for text in texts)
