"""Folders that other programs write: adapters, lost weights; and tokens and dates of real tokenizers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from real_models import PLAIN, make_chat_model
from safetensors.torch import load_file, save_file

from mipo_bench.harness.config.schema import TrainConfig
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.generators.hf_generator import HFGenerator, load_model
from mipo_bench.harness.generators.model_folder import embedded_folder, resolve_model
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.generators.tokenizer import load_tokenizer, with_fixed_date
from mipo_bench.harness.protocols import Request
from mipo_bench.harness.training.job import Training
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.training.trainer_setup import load_for_training
from mipo_bench.harness.types import Decoding, Message

PLACEMENT = Placement(threads=1, batch_size=4)
NO_STORE = Path("no-store")


def generator_of(folder: Path) -> HFGenerator:
    return HFGenerator(folder, "key", PLACEMENT)


def test_an_adapter_names_its_base(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "some/base"}))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"adapter of PEFT for some/base.*merge_and_unload"):
        resolve_model(str(tmp_path), NO_STORE)


def test_a_lost_shard_is_named(tmp_path: Path) -> None:
    folder = make_chat_model(tmp_path)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(ModelError, match=r"model-00002-of-00002\.safetensors, named in its index, is missing"):
        resolve_model(str(folder), NO_STORE)


def test_everything_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError) as refused:
        resolve_model(str(tmp_path), NO_STORE)
    assert len(str(refused.value).splitlines()) == 3


def likes(folder: Path, token: int) -> HFGenerator:
    """A generator whose model gives this token the highest probability after everything."""
    generator = generator_of(folder)
    model = generator.model
    with torch.no_grad():
        model.model.norm.weight.zero_()  # all logits are 0, and the first of equal ones is taken
        model.lm_head = torch.nn.Linear(model.config.hidden_size, model.config.vocab_size)
        model.lm_head.weight.zero_()
        model.lm_head.bias.zero_()
        model.lm_head.bias[token] = 5.0
    return generator


@pytest.mark.parametrize("generation", [{"eos_token_id": 1}, {}, {"eos_token_id": [1, 3]}])
def test_the_end_of_a_turn_ends_a_response(generation: dict[str, object], tmp_path: Path) -> None:
    generator = likes(make_chat_model(tmp_path, generation=generation), 3)
    prompt = generator.render([Message("user", "hello")], None)
    ((_, response),) = generator.generate([Request(prompt.text, 0, Decoding(20, 0.0))])
    assert (response.finish, response.n_tokens) == ("stop", 0)


def test_only_a_missing_end_token_changes_the_digest(tmp_path: Path) -> None:
    assert generator_of(make_chat_model(tmp_path / "named")).digest == "key"
    assert generator_of(embedded_folder()).digest == "key"
    assert generator_of(make_chat_model(tmp_path / "missing", generation={"eos_token_id": 1})).digest != "key"


def test_a_tokenizer_without_special_tokens_generates(tmp_path: Path) -> None:
    bare = PLAIN.replace("<|end|>", "").replace("<|turn|>", "# ")
    folder = make_chat_model(tmp_path, bare, names={}, generation={}, bos_token_id=None, eos_token_id=None)
    requests = [Request(text, 0, Decoding(3, 0.0)) for text in ("hello", "")]
    found = dict(generator_of(folder).generate(requests))
    assert {response.finish for response in found.values()} == {"length"}


def test_a_template_prints_a_fixed_date(tmp_path: Path) -> None:
    folder = make_chat_model(tmp_path, "{{ strftime_now('%Y-%m-%d %H:%M') }}" + PLAIN)
    assert generator_of(folder).render([Message("user", "hello")], None).text.startswith("2024-07-26 00:00<|turn|>")
    assert with_fixed_date('{% if strftime_now is defined %}{{ strftime_now( "%d %b" ) }}') == (
        '{% if strftime_now is defined %}{{ "26 Jul" }}'
    )


def test_the_pad_token_has_an_embedding(tmp_path: Path) -> None:
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<|further|>"}
    notes: list[str] = []
    tokenizer = load_tokenizer(make_chat_model(tmp_path, names=names, further=("<|further|>",)), PLACEMENT, notes)
    assert tokenizer.pad_token == "</s>"
    assert len(notes) == 1


@pytest.mark.parametrize("rename", [lambda name: "" if "layers.0.mlp.up" in name else name, "module.{}".format])
def test_weights_that_are_not_there_are_not_made_up(rename: Callable[[str], str], tmp_path: Path) -> None:
    """transformers fills them with random numbers: all scores would be those of another model, and change each time."""
    folder = make_chat_model(tmp_path / "model")
    weights = {rename(name): tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    weights.pop("", None)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks weights that the model needs, which would be random: .*layers\.0"):
        load_model(folder, Placement(threads=1))
    pairs = PairSet((), {}, "digest")
    training = Training(folder, "base", "task", "recipe", 0, pairs, TrainConfig(lr=1e-4), Placement(threads=1))
    with pytest.raises(ModelError, match="lacks weights"):
        load_for_training(training)
