"""Pairs that are computed as one text each: the same hidden states, losses and weights with fewer tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from real_models import ARCHITECTURES, CHATML, GROUPED, SHAPE, SPECIAL, make_model, save_tokenizer
from transformers import AutoModelForCausalLM, LlamaModel, LlamaPreTrainedModel, PreTrainedModel, Qwen2MoeConfig

from mipo_bench.harness.config.schema import TrainConfig
from mipo_bench.harness.generators import model_folder
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.protocols import Pair
from mipo_bench.harness.training import dpo, shared_prompts
from mipo_bench.harness.training.job import OnStep, Prepared, Training
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.training.shared_prompts import JOINED, JoinedPairs, SharedPrompts, join_pairs, share_prompts
from mipo_bench.harness.training.train import train
from mipo_bench.harness.training.trainer_setup import with_least_padding
from mipo_bench.harness.types import Message

PROMPTS = ([11, 12, 13, 14, 15], [21], list(range(30, 120)))
CHOSEN = ([7, 8, 9], [5, 6, 7, 5], [4])
REJECTED: tuple[list[int], ...] = ([7, 3], [], [4])
"""A common first token, a side that the other one begins with, and two equal sides."""
SETTINGS = TrainConfig(lr=1e-3, batch_size=4, max_length=256)


def batch(pairs: int = 3) -> dict[str, torch.Tensor]:
    """The first pairs as trl's collator gives them, chosen sides first, padded on the right."""
    sides = [
        p + response for side in (CHOSEN, REJECTED) for p, response in zip(PROMPTS[:pairs], side[:pairs], strict=True)
    ]
    longest = max(map(len, sides))
    ids = torch.tensor([side + [0] * (longest - len(side)) for side in sides])
    mask = torch.tensor([[1] * len(side) + [0] * (longest - len(side)) for side in sides])
    prompt = torch.tensor([len(p) for p in PROMPTS[:pairs]]).repeat(2).unsqueeze(1)
    return {"input_ids": ids, "attention_mask": mask, "completion_mask": mask * (torch.arange(longest) >= prompt)}


def test_a_pair_is_its_common_beginning_and_both_rests() -> None:
    ids, mask = batch()["input_ids"], batch()["attention_mask"]
    pairs = join_pairs(ids, mask)
    first = slice(0, 9)
    assert pairs.ids[0, first].tolist() == [11, 12, 13, 14, 15, 7, 8, 9, 3]
    assert pairs.positions[0, first].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 6]
    assert pairs.parts[0, first].tolist() == [0] * 6 + [1, 1, 2]
    assert pairs.used.sum(dim=1).tolist() == [9, 5, 91], "no token of a beginning is there twice"
    found = pairs.ids.repeat(2, 1).gather(1, pairs.columns)
    assert torch.equal(found[mask.bool()], ids[mask.bool()]), "every token of the rows is found"
    assert not pairs.columns[~mask.bool()].any()


def loaded(folder: Path) -> tuple[PreTrainedModel, SharedPrompts]:
    """A model whose decoder may share prompts."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    shared = share_prompts(model, training(folder))
    assert shared is not None
    return model, shared


def hidden(model: PreTrainedModel, **further: bool) -> Any:
    """What the decoder gives for all rows, as trl asks for it."""
    given = batch()
    with torch.no_grad():
        return model.base_model(
            input_ids=given["input_ids"], attention_mask=given["attention_mask"], use_cache=False, **further
        )


@pytest.mark.parametrize("architecture", sorted({*ARCHITECTURES} - {"gemma2"}))
def test_hidden_states_are_those_of_rows_by_themselves(architecture: str, tmp_path: Path) -> None:
    """Also beyond a sliding window, which the third prompt exceeds."""
    model, shared = loaded(make_model(architecture, tmp_path))
    used = batch()["attention_mask"].bool()
    expected = hidden(model).last_hidden_state
    shared.try_on(batch())
    assert shared.refused == ""
    assert model.config._attn_implementation == JOINED
    torch.testing.assert_close(hidden(model).last_hidden_state[used], expected[used], atol=1e-5, rtol=1e-4)


def refuse_gemma2(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its scores are capped, so it has an attention of its own."""
    return make_model("gemma2", folder)


def refuse_own_attention(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An architecture whose attention cannot be replaced, such as that of GPT-Neo."""
    monkeypatch.setattr(LlamaPreTrainedModel, "set_attn_implementation", lambda *_: None)
    return make_model("llama", folder)


def refuse_other_states(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A response that sees the other one."""

    def join(ids: torch.Tensor, mask: torch.Tensor) -> JoinedPairs:
        pairs = join_pairs(ids, mask)
        return replace(pairs, parts=0 * pairs.parts)

    monkeypatch.setattr(shared_prompts, "join_pairs", join)
    return make_model("llama", folder)


def refuse_positions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A decoder that takes no positions."""
    forward = LlamaModel.forward

    def without_positions(self: Any, input_ids: Any = None, attention_mask: Any = None, use_cache: Any = None) -> Any:
        return forward(self, input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache)

    monkeypatch.setattr(LlamaModel, "forward", without_positions)
    return make_model("llama", folder)


REFUSALS: dict[Callable[[Path, pytest.MonkeyPatch], Path], str] = {
    refuse_gemma2: "its attention is eager, not sdpa",
    refuse_own_attention: "TypeError: the attention of this architecture cannot be replaced",
    refuse_other_states: "hidden states of a response differ by 0.",
    refuse_positions: "unexpected keyword argument 'position_ids'",
}


@pytest.mark.parametrize("refuse", REFUSALS, ids=lambda refuse: refuse.__name__)
def test_where_prompts_cannot_be_shared_nothing_changes(
    refuse: Callable[[Path, pytest.MonkeyPatch], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, shared = loaded(refuse(tmp_path, monkeypatch))
    expected, before = hidden(model).last_hidden_state, model.config._attn_implementation
    model.train()
    shared.try_on(batch(1))  # the mask of a single pair fits into any attention
    assert REFUSALS[refuse] in shared.refused
    assert model.training
    assert model.config._attn_implementation == before
    assert torch.equal(hidden(model).last_hidden_state, expected)


def test_a_decoder_that_is_asked_for_more_computes_rows_by_themselves(tmp_path: Path) -> None:
    """The router's logits of a mixture of experts must be those of the rows, for its auxiliary loss."""
    model, shared = loaded(make_model("llama", tmp_path))
    expected = hidden(model).last_hidden_state
    shared.try_on(batch())
    out = hidden(model, output_hidden_states=True)
    assert out.hidden_states[0].shape[:2] == batch()["input_ids"].shape
    assert shared.refused == "the decoder is called with output_hidden_states"
    assert torch.equal(hidden(model).last_hidden_state, expected), "also from there on"


def test_too_little_memory_is_no_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training starts again with less."""
    _, shared = loaded(make_model("llama", tmp_path))

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(SharedPrompts, "_shared", fail)
    with pytest.raises(MemoryError):
        shared.try_on(batch())


def training(folder: Path, **settings: Any) -> Training:
    """Six pairs in batches of four; the sides of none are equally long."""
    prompt = (Message("user", "which of these do you like more: tea or music"),)
    pairs = [Pair(str(n), prompt, "tea " * n + "now", "rain " * (n // 2) + "no") for n in (3, 40, 8, 1, 25, 2)]
    used = SETTINGS.model_copy(update=settings)
    return Training(folder, "base", "persona", "mipo-random", 0, PairSet(tuple(pairs), {}, "d"), used, Placement())


def trained(job: Training, out: Path) -> tuple[list[int], dict[str, Any], dict[str, torch.Tensor]]:
    """The tokens of each computation of the decoder, the lineage, and the weights in the end."""
    tokens: list[int] = []

    def prepare(job: Training, scratch: str, on_step: OnStep) -> Prepared:
        prepared = dpo.prepare(job, scratch, on_step)
        model: Any = prepared.trainer.model
        model.get_input_embeddings().register_forward_hook(lambda module, args, out: tokens.append(args[0].numel()))
        return prepared

    train(job, out, lambda step, total: None, prepare)
    weights: dict[str, torch.Tensor] = dict(AutoModelForCausalLM.from_pretrained(out).named_parameters())
    return tokens, json.loads((out / "lineage.json").read_text()), weights


def losses(lineage: dict[str, Any]) -> list[float]:
    """The loss of each step."""
    return [point["loss"] for point in lineage["curve"]]


@pytest.mark.training
@pytest.mark.parametrize("settings", [{}, {"method": "lora", "lora_rank": 4}, {"loss": "ipo"}])
def test_a_training_computes_fewer_tokens_and_gives_the_same_weights(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = training(model_folder.embedded_folder(), **settings)
    together = trained(job, tmp_path / "together")
    monkeypatch.setattr(dpo, "share_prompts", lambda model, job: None)
    alone = trained(job, tmp_path / "alone")
    assert together[0][-1] < 0.6 * alone[0][-1], "tokens of the last batch"
    assert losses(together[1]) == pytest.approx(losses(alone[1]), abs=1e-4, rel=1e-5)
    base = dict(AutoModelForCausalLM.from_pretrained(job.base).named_parameters())
    for name, weights in alone[2].items():  # AdamW turns a gradient near 0, whose sign is rounding, into a whole step
        assert (together[2][name] - weights).norm() <= 0.01 * (weights - base[name]).norm(), name
    assert "prompts_not_shared" not in together[1]
    config = json.loads((tmp_path / "together" / "config.json").read_text())
    assert config == json.loads((tmp_path / "alone" / "config.json").read_text())


@pytest.mark.training
def test_a_training_gives_the_same_weights_twice(tmp_path: Path) -> None:
    job = training(model_folder.embedded_folder())
    one, other = (trained(job, tmp_path / str(n)) for n in range(2))
    assert all(torch.equal(one[2][name], weights) for name, weights in other[2].items())


@pytest.mark.training
def test_a_mixture_of_experts_trains_on_the_rows_that_its_auxiliary_loss_is_of(tmp_path: Path) -> None:
    """The reference is computed without the router's logits, and the steps with them."""
    experts: dict[str, Any] = {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 8,
        "shared_expert_intermediate_size": 8,
    }
    config = Qwen2MoeConfig(**SHAPE, **GROUPED, **experts, output_router_logits=True)
    folder = tmp_path / "experts"
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    save_tokenizer(folder, SPECIAL, {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<s>"}, CHATML)
    _, lineage, _ = trained(training(folder), tmp_path / "out")
    assert lineage["prompts_not_shared"] == "the decoder is called with output_router_logits"
    assert len(losses(lineage)) == 2


@pytest.mark.training
def test_a_refused_training_is_as_before_and_its_lineage_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = training(model_folder.embedded_folder())
    with monkeypatch.context() as patched:
        patched.setattr(dpo, "share_prompts", lambda model, job: None)
        alone = trained(job, tmp_path / "alone")
    refuse_other_states(tmp_path / "unused", monkeypatch)
    found = trained(job, tmp_path / "refused")
    assert found[1]["prompts_not_shared"].startswith("hidden states of a response differ by 0.")
    assert all(torch.equal(found[2][name], weights) for name, weights in alone[2].items())


def test_a_model_on_its_way_to_a_gpu_is_left_as_it_is(tmp_path: Path) -> None:
    """The trainer moves it there: until then it is on the CPU."""
    folder = make_model("llama", tmp_path, hidden_size=1024, intermediate_size=5632)
    model, job = AutoModelForCausalLM.from_pretrained(folder), training(folder)
    on_gpu = replace(job, placement=Placement("cuda"))
    assert with_least_padding(job, model).gradient_accumulation_steps == 4
    assert with_least_padding(on_gpu, model) == on_gpu
    assert share_prompts(model, on_gpu) is None
    assert share_prompts(model, training(folder, processes=2)) is None
