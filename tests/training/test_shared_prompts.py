"""Pairs that are computed as one text each: the same hidden states, losses and weights with fewer tokens."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from real_models import ARCHITECTURES, make_model
from transformers import AutoModelForCausalLM, PreTrainedModel

from mipo_bench.harness.config.schema import TrainConfig
from mipo_bench.harness.generators import model_folder
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.protocols import Pair
from mipo_bench.harness.training import dpo, shared_prompts
from mipo_bench.harness.training.job import OnStep, Prepared, Training
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.training.shared_prompts import SharedPrompts, join_pairs, share_prompts
from mipo_bench.harness.training.train import train
from mipo_bench.harness.types import Message

PROMPTS = ([11, 12, 13, 14, 15], [21], list(range(30, 120)))
CHOSEN = ([7, 8, 9], [5, 6, 7, 5], [4])
REJECTED: tuple[list[int], ...] = ([7, 3], [], [4])
"""A common first token, a side that the other one begins with, and two equal sides."""
SETTINGS = TrainConfig(lr=1e-3, batch_size=4, max_length=256)


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """The pairs as trl gives them: tokens and attention mask, chosen sides first, padded on the right."""
    sides = [p + c for p, c in zip(PROMPTS, CHOSEN, strict=True)] + [
        p + r for p, r in zip(PROMPTS, REJECTED, strict=True)
    ]
    longest = max(map(len, sides))
    ids = torch.tensor([side + [0] * (longest - len(side)) for side in sides])
    return ids, torch.tensor([[1] * len(side) + [0] * (longest - len(side)) for side in sides])


def test_a_pair_is_its_common_beginning_and_both_rests() -> None:
    ids, mask = rows()
    pairs = join_pairs(ids, mask)
    first = slice(0, 9)
    assert pairs.ids[0, first].tolist() == [11, 12, 13, 14, 15, 7, 8, 9, 3]
    assert pairs.positions[0, first].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 6]
    assert pairs.parts[0, first].tolist() == [0] * 6 + [1, 1, 2]
    assert pairs.used.sum(dim=1).tolist() == [9, 5, 91], "no token of a beginning is there twice"
    found = pairs.ids.repeat(2, 1).gather(1, pairs.columns)
    assert torch.equal(found[mask.bool()], ids[mask.bool()]), "every token of the rows is found"
    assert not pairs.columns[~mask.bool()].any()


def hidden(model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The last hidden states of all rows, as trl asks for them."""
    with torch.no_grad():
        states: torch.Tensor = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    return states


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_hidden_states_are_those_of_rows_by_themselves(architecture: str, tmp_path: Path) -> None:
    """Also beyond a sliding window, which the third prompt exceeds."""
    model = AutoModelForCausalLM.from_pretrained(make_model(architecture, tmp_path)).eval()
    ids, mask = rows()
    expected = hidden(model, ids, mask)
    shared = share_prompts(model)
    assert shared is not None
    found = [hidden(model, ids, mask) for _ in range(2)]
    if architecture == "gemma2":
        assert shared.refused is not None
        assert "`sdpa` attention does not support `softcap`" in shared.refused
    else:
        assert shared.refused is None
    for one in found:
        torch.testing.assert_close(one[mask.bool()], expected[mask.bool()], atol=1e-5, rtol=1e-4)


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
    monkeypatch.setattr(dpo, "share_prompts", lambda model: None)
    alone = trained(job, tmp_path / "alone")
    assert together[0][-1] < 0.6 * alone[0][-1], "tokens of the last batch"
    assert losses(together[1]) == pytest.approx(losses(alone[1]), abs=1e-4)
    assert all(torch.allclose(together[2][name], weights, atol=2e-4) for name, weights in alone[2].items())
    assert "prompts_not_shared" not in together[1]
    config = json.loads((tmp_path / "together" / "config.json").read_text())
    assert config == json.loads((tmp_path / "alone" / "config.json").read_text())


@pytest.mark.training
def test_a_training_gives_the_same_weights_twice(tmp_path: Path) -> None:
    job = training(model_folder.embedded_folder())
    one, other = (trained(job, tmp_path / str(n)) for n in range(2))
    assert all(torch.equal(one[2][name], weights) for name, weights in other[2].items())


@pytest.mark.training
def test_with_other_hidden_states_rows_are_computed_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An architecture may read positions or masks in a way of its own: then the training is as before."""
    job = training(model_folder.embedded_folder())
    join = join_pairs
    with monkeypatch.context() as patched:
        patched.setattr(dpo, "share_prompts", lambda model: None)
        alone = trained(job, tmp_path / "alone")
    monkeypatch.setattr(
        shared_prompts, "join_pairs", lambda ids, mask: replace(join(ids, mask), parts=0 * join(ids, mask).parts)
    )
    found = trained(job, tmp_path / "refused")
    assert found[1]["prompts_not_shared"].startswith("hidden states differ by 0.")
    assert all(torch.equal(found[2][name], weights) for name, weights in alone[2].items())


@pytest.mark.parametrize(
    ("error", "reason"), [(TypeError("no such mask"), "TypeError: no such mask"), (MemoryError("full"), None)]
)
def test_an_error_of_the_model_refuses_it_unless_memory_is_full(
    error: Exception, reason: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = AutoModelForCausalLM.from_pretrained(make_model("llama", tmp_path)).eval()
    ids, mask = rows()
    expected, before = hidden(model, ids, mask), model.config._attn_implementation
    shared = share_prompts(model)
    assert shared is not None

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(SharedPrompts, "_shared", fail)
    if reason is None:
        with pytest.raises(MemoryError):
            hidden(model, ids, mask)
        return
    assert torch.equal(hidden(model, ids, mask), expected)
    assert shared.refused == reason
    assert model.config._attn_implementation == before


def test_a_decoder_that_is_asked_for_more_computes_rows_by_themselves(tmp_path: Path) -> None:
    """The router's logits of a mixture of experts must be those of the rows, for its auxiliary loss."""
    model = AutoModelForCausalLM.from_pretrained(make_model("llama", tmp_path)).eval()
    ids, mask = rows()
    shared = share_prompts(model)
    assert shared is not None
    out = model.base_model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    assert out.hidden_states[0].shape[:2] == ids.shape
    assert shared.refused == "the decoder is called with output_hidden_states"
