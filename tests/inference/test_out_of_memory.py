"""Running out of memory: half the slots, then half of those, and a clear end where one is too many."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import PreTrainedModel, Qwen2Config

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import TrainConfig
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.generators import model_folder
from mipo_bench.harness.generators.hf_generator import HFGenerator, load_model
from mipo_bench.harness.generators.model_folder import parameters
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.inference import decoder
from mipo_bench.harness.inference.decoder import Decoder
from mipo_bench.harness.inference.memory import Budget, is_out_of_memory, token_bytes
from mipo_bench.harness.inference.slots import SlotBatch
from mipo_bench.harness.inference.tokens import TextCodec
from mipo_bench.harness.protocols import LikelihoodRequest, Request
from mipo_bench.harness.training.memory import Devices, check_training_fits, training_bytes
from mipo_bench.harness.types import Decoding, Message, Response


class CrampedModel:
    """A model on a device whose memory is enough for some rows and for prompts of some length."""

    def __init__(self, model: PreTrainedModel, rows: int, tokens: int, error: Callable[[str], Exception]) -> None:
        self.model, self.rows, self.tokens, self.error = model, rows, tokens, error
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def __call__(self, input_ids: torch.Tensor, **options: Any) -> Any:
        if input_ids.shape[0] > self.rows or input_ids.shape[1] > self.tokens:
            self.refused += 1
            raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.model(input_ids=input_ids, **options)


def cramped(rows: int, tokens: int = 1000, error: Callable[[str], Exception] = torch.OutOfMemoryError) -> HFGenerator:
    def load(folder: Path, placement: Placement) -> PreTrainedModel:
        return cast("PreTrainedModel", CrampedModel(load_model(folder, placement), rows, tokens, error))

    return HFGenerator(model_folder.embedded_folder(), "digest", Placement(threads=1, batch_size=16), load=load)


def asked(generator: HFGenerator, times: int = 6) -> list[Request]:
    texts = [
        f"Describe {word} in a few words." for word in ["chess", "music", "tea", "rain", "cats", "books", "maps"]
    ] * times
    prompts = [generator.render([Message("user", text)], None).text for text in texts]
    return [Request(prompt, seed, Decoding(20, 1.0), ("yes", "no")) for seed, prompt in enumerate(prompts)]


def answers(generator: HFGenerator, times: int = 6) -> list[Response]:
    return [response for _, response in sorted(generator.generate(asked(generator, times)), key=lambda found: found[0])]


@cache
def ample_answers(times: int = 6) -> list[Response]:
    """The answers of a device with room for all slots."""
    generator = cramped(16)
    found = answers(generator, times)
    assert generator.notes == []
    return found


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
def test_the_slots_are_halved_until_they_fit_and_nothing_is_lost(error: Callable[[str], Exception]) -> None:
    tight = cramped(5, error=error)
    assert answers(tight) == ample_answers()
    fewer, *halved = tight.notes
    assert fewer == "out of memory: fewer prompts were computed together from there on"
    assert [note.split(" at a time")[0] for note in halved] == [
        f"out of memory: prompts were answered {rows}" for rows in (8, 4)
    ]


def test_nothing_of_a_failed_attempt_is_held_when_memory_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    monkeypatch.setattr(
        decoder, "free_memory", lambda: held.append([type(o) for o in gc.get_objects()].count(SlotBatch))
    )
    generator = cramped(16)
    stream = generator.generate(asked(generator, times=20))
    next(stream)
    cast("Any", generator.model).rows = 4
    assert len(list(stream)) + 1 == len(asked(generator, times=20))
    assert held == [0, 0]


def test_memory_that_shrinks_on_the_way_loses_no_answer() -> None:
    generator = cramped(16)
    stream = generator.generate(asked(generator, times=20))
    found = [next(stream) for _ in range(5)]
    cast("Any", generator.model).rows = 4
    found += stream
    assert [response for _, response in sorted(found, key=lambda one: one[0])] == ample_answers(times=20)
    assert cast("Any", generator.model).refused > 0


def test_a_single_prompt_that_is_too_large_is_an_error_with_a_remedy() -> None:
    for generator in (cramped(0), cramped(16, tokens=3)):
        with pytest.raises(ModelError, match=r"single prompt at a time .*dtype=bfloat16"):
            answers(generator)
        with pytest.raises(ModelError, match="out of memory"):
            list(generator.likelihoods([LikelihoodRequest("one two three four five", ("six",))]))


def test_another_failure_is_not_taken_for_a_lack_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    generator = cramped(0, error=lambda _: KeyError("lost"))
    with pytest.raises(KeyError):
        answers(generator)


def test_the_slots_that_a_memory_holds_follow_from_its_size_and_the_columns() -> None:
    budget = Budget(left=80 * 2**30, per_token=28 * 2**10)
    assert [budget.slots(columns) for columns in (64, 2048, 8192, 32768, 1 << 30)] == [256, 256, 128, 32, 1]
    assert Budget(0, 1).slots(64) == 1
    qwen = Qwen2Config(num_hidden_layers=28, num_key_value_heads=2, num_attention_heads=12, hidden_size=1536)
    assert token_bytes(qwen, 2) == 28 * 2 * 2 * 128 * 2


def test_a_memory_budget_sets_the_slots_and_changes_no_answer() -> None:
    generator = cramped(16)
    per_token = token_bytes(generator.model.config, 4)
    codec = TextCodec(generator.model, generator.tokenizer)
    decoder = Decoder(generator.model, codec, Budget(2 * 10 * 64 * per_token, per_token), 1024, [])
    found = sorted(decoder.generate(asked(generator)), key=lambda one: one[0])
    assert decoder.slots == 8
    assert [response for _, response in found] == ample_answers()
    cast("Any", generator.model).rows = 4
    assert len(list(decoder.generate(asked(generator)))) == len(found)
    assert (decoder.slots, decoder.max_slots, len(decoder.notes)) == (4, 4, 2)
    list(decoder.generate(asked(generator)))
    assert (decoder.slots, len(decoder.notes)) == (4, 2)


def test_the_memory_of_a_training_is_estimated() -> None:
    assert training_bytes(1_543_714_304, TrainConfig(method="full")) > 24e9
    assert training_bytes(1_543_714_304, TrainConfig(method="lora")) < 7e9
    assert parameters(model_folder.embedded_folder()) == 984_192
    check_training_fits(10**15, load_config(None, [], {}), Devices("cpu"))
