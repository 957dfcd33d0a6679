"""The lighter layers of small Llama models: the bits of transformers' own, and only where they are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from real_models import make_model
from transformers import DynamicCache, PreTrainedModel
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from mipo_bench.harness.generators import model_folder
from mipo_bench.harness.generators.hf_generator import load_model
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.inference.forward import Forward
from mipo_bench.harness.inference.layers import llama_layer
from mipo_bench.harness.inference.layers.llama_layer import LightLayer, lighten
from mipo_bench.harness.inference.likelihoods import LikelihoodScorer
from mipo_bench.harness.inference.shapes import step_for
from mipo_bench.harness.inference.slots import SlotBatch

Shape = dict[str, Any]


def loaded(folder: Path, dtype: str = "float32") -> PreTrainedModel:
    return load_model(folder, Placement(threads=1, dtype=dtype))


def is_light(model: PreTrainedModel) -> bool:
    layers: Any = model.base_model.layers
    return all(isinstance(vars(layer).get("forward"), LightLayer) for layer in layers)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Forward, Forward]]:
    """Name of a model -> its forward pass by the layers of transformers, and by the lighter ones."""
    grouped = make_model("llama", tmp_path_factory.mktemp("grouped"), num_key_value_heads=2, num_attention_heads=4)
    found = {}
    for name, folder in (("embedded", model_folder.embedded_folder()), ("grouped", grouped)):
        light = Forward(loaded(folder), 64, [])
        assert is_light(light.model)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mipo_bench.harness.inference.forward.lighten", lambda model: False)
            found[name] = Forward(loaded(folder), 64, []), light
        assert not is_light(found[name][0].model)
    return found


NAMES = "embedded", "grouped"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [16, 64, 128, 256, 384])
def test_a_prefill_gives_the_same_bits(both: dict[str, tuple[Forward, Forward]], name: str, width: int) -> None:
    """In the shapes of a run: fewer than 16 rows of a product may be rounded otherwise, but no prefill has so few."""
    rows, outcomes = both[name][0].prompt_rows(width), []
    ids = torch.randint(3, 200, (rows, width), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for forward in both[name]:
            cache = DynamicCache()
            logits = forward._logits(ids, cache, step_for(width))
            layers: list[Any] = list(cache.layers)
            outcomes.append([logits, *(part for layer in layers for part in (layer.keys, layer.values))])
    assert outcomes[0][0].shape[:2] == (rows, step_for(width))
    assert all(torch.equal(a, b) for a, b in zip(*outcomes, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_steps_and_likelihoods_are_the_same_bits(both: dict[str, tuple[Forward, Forward]], name: str) -> None:
    prompt, texts = tuple(range(20, 60)), [tuple(range(70, 70 + n)) for n in (1, 9, 30)]
    steps, figures = [], []
    with torch.inference_mode():
        for forward in both[name]:
            (prefilled,) = forward.prefill([prompt])
            slots = SlotBatch(forward, 32, 96)
            for row in range(32):
                slots.insert(row, prefilled)
            steps.append([slots.step([100 + n] * 32, [len(prompt) + n] * 32) for n in range(3)])
            figures.append(LikelihoodScorer(forward).likelihoods([(prompt, texts), (prompt[:17], texts)]))
    assert all(torch.equal(a, b) for a, b in zip(*steps, strict=True))
    assert figures[0] == figures[1]


def test_the_last_layer_computes_the_wanted_columns_alone(both: dict[str, tuple[Forward, Forward]]) -> None:
    forward, rows = both["embedded"][1], list[int]()
    layers: Any = forward.model.base_model.layers
    last = layers[-1]
    hook = last.mlp.register_forward_pre_hook(lambda module, args: pytest.fail("transformers' own layer was called"))
    plain = llama_layer._norm

    def counted(states: torch.Tensor, norm: Any) -> torch.Tensor:
        if norm is last.post_attention_layernorm:
            rows.append(states.shape[1])
        return plain(states, norm)

    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(llama_layer, "_norm", counted)
        forward._logits(torch.ones(2, 128, dtype=torch.long), DynamicCache(), 16)
        forward.model(input_ids=torch.ones(2, 128, dtype=torch.long))
    hook.remove()
    assert rows == [16, 128]


@pytest.mark.parametrize(
    ("architecture", "shape", "dtype"),
    [
        ("llama", {}, "bfloat16"),
        ("llama", {"attention_bias": True}, "float32"),
        ("llama", {"mlp_bias": True}, "float32"),
        ("llama", {"hidden_act": "gelu"}, "float32"),
        ("llama", {"hidden_size": 1024, "intermediate_size": 5632}, "float32"),
        ("qwen2", {}, "float32"),
        ("mistral", {}, "float32"),
        ("gpt_neox", {}, "float32"),
    ],
)
def test_other_models_keep_their_layers(architecture: str, shape: Shape, dtype: str, tmp_path: Path) -> None:
    model = loaded(make_model(architecture, tmp_path, **shape), dtype)
    assert not lighten(model)
    assert model.config.model_type != "llama" or not is_light(model)


def test_layers_that_another_library_has_changed_stay(tmp_path: Path) -> None:
    model = loaded(make_model("llama", tmp_path))
    layers: Any = model.base_model.layers
    layer, own = layers[0], layers[0].forward
    layer.forward = own
    assert not lighten(model)
    assert layer.forward is own


def test_other_bits_keep_the_layers_of_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, plain = make_model("llama", tmp_path), llama_layer._norm
    monkeypatch.setattr(llama_layer, "_norm", lambda states, norm: plain(states, norm) * (1 + 1e-6))
    model = loaded(folder)
    assert not lighten(model)
    assert not is_light(model)
    ids = torch.arange(3, 20).unsqueeze(0)
    with torch.inference_mode():
        assert torch.equal(model(ids).logits, AutoModelForCausalLM.from_pretrained(folder)(ids).logits)
    monkeypatch.undo()
    assert lighten(model)
