"""The lighter layers of small Llama models: the bits of transformers' own, and only where they are right."""

from __future__ import annotations

from collections.abc import Iterator
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
from mipo_bench.harness.inference.shapes import FINE
from mipo_bench.harness.inference.slots import SlotBatch

Shape = dict[str, Any]


def loaded(folder: Path, dtype: str = "float32") -> PreTrainedModel:
    return load_model(folder, Placement(threads=1, dtype=dtype))


def is_light(model: PreTrainedModel) -> bool:
    layers: Any = model.base_model.layers
    return all(isinstance(vars(layer).get("forward"), LightLayer) for layer in layers)


def both_of(folder: Path, rows: int) -> tuple[Forward, Forward]:
    """The forward pass by the layers of transformers, and by the lighter ones."""
    light = Forward(loaded(folder), rows, [])
    assert is_light(light.model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mipo_bench.harness.inference.forward.lighten", lambda model: False)
        plain = Forward(loaded(folder), rows, [])
    assert not is_light(plain.model)
    return plain, light


@pytest.fixture(scope="module", params=["embedded", "grouped"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model, and one whose query heads share key heads."""
    if request.param == "embedded":
        return model_folder.embedded_folder()
    return make_model("llama", tmp_path_factory.mktemp("grouped"), num_key_value_heads=2, num_attention_heads=4)


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("rows", [1, 8, 32, 64])
def test_a_prefill_gives_the_same_bits(folder: Path, rows: int) -> None:
    """In all widths up to the window of the embedded model; from 256 columns on with another attention."""
    both = both_of(folder, rows)
    for width in sorted({FINE.width(tokens) for tokens in range(1, 1025, 16)}):
        ids = torch.randint(3, 200, (both[0].prompt_rows(width), width), generator=torch.Generator().manual_seed(0))
        outcomes = []
        with torch.inference_mode():
            for forward in both:
                cache = DynamicCache()
                logits = forward._logits(ids, cache, FINE.step(width))
                layers: list[Any] = list(cache.layers)
                outcomes.append([logits, *(part for layer in layers for part in (layer.keys, layer.values))])
        assert outcomes[0][0].shape[1] == FINE.step(width)
        assert all(torch.equal(a, b) for a, b in zip(*outcomes, strict=True)), width


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("rows", [1, 3, 12, 32])
def test_steps_and_likelihoods_are_the_same_bits(folder: Path, rows: int) -> None:
    prompt, texts = tuple(n % 200 + 3 for n in range(300)), [tuple(range(70, 70 + n)) for n in (1, 9, 30)]
    steps, figures = [], []
    with torch.inference_mode():
        for forward in both_of(folder, rows):
            (prefilled,) = forward.prefill([prompt[:40]])
            slots = SlotBatch(forward, rows, 96)
            slots.insert(range(rows), [prefilled] * rows)
            steps.append([slots.step([100 + n] * rows, [40 + n] * rows) for n in range(3)])
            figures.append(LikelihoodScorer(forward).likelihoods([(prompt, texts), (prompt[:17], texts)]))
    assert all(torch.equal(a, b) for a, b in zip(*steps, strict=True))
    assert figures[0] == figures[1]


def test_the_last_layer_computes_the_wanted_columns_alone() -> None:
    forward, rows = Forward(loaded(model_folder.embedded_folder()), 64, []), list[int]()
    layers: Any = forward.model.base_model.layers
    last = layers[-1]
    last.mlp.register_forward_pre_hook(lambda module, args: pytest.fail("transformers' own layer was called"))
    plain = llama_layer._norm

    def counted(states: torch.Tensor, norm: Any) -> torch.Tensor:
        if norm is last.post_attention_layernorm:
            rows.append(states.shape[1])
        return plain(states, norm)

    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(llama_layer, "_norm", counted)
        forward._logits(torch.ones(2, 128, dtype=torch.long), DynamicCache(), 16)
        forward.model(input_ids=torch.ones(2, 128, dtype=torch.long))
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


def test_a_part_of_another_kind_keeps_the_layers(tmp_path: Path) -> None:
    """Such as an adapter, which begins with the same bits."""

    class Adapted(torch.nn.Linear):
        pass

    model = loaded(make_model("llama", tmp_path))
    layers: Any = model.base_model.layers
    layers[0].mlp.gate_proj.__class__ = Adapted
    assert not lighten(model)


def test_another_model_is_not_told_of_wanted_columns(tmp_path: Path) -> None:
    told = list[str]()
    for architecture in ("llama", "mistral"):
        forward = Forward(loaded(make_model(architecture, tmp_path / architecture)), 8, [])
        forward.model.register_forward_pre_hook(lambda module, args, options: told.extend(options), with_kwargs=True)
        with torch.inference_mode():
            list(forward.prefill([tuple(range(5, 40))]))
    assert told.count(llama_layer.KEPT) == 1


def test_a_second_forward_pass_on_a_model_finds_the_lighter_layers(folder: Path) -> None:
    model = loaded(folder)
    assert all(Forward(model, rows, [])._is_light for rows in (8, 16))
    assert is_light(model)


def test_a_layer_that_cannot_be_computed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object) -> torch.Tensor:
        raise TypeError("a layer of a later version")

    monkeypatch.setattr(llama_layer, "_turned", failing)
    model = loaded(make_model("llama", tmp_path))
    assert not Forward(model, 8, [])._is_light
    assert not is_light(model)


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
