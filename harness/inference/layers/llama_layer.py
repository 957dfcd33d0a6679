"""The layers of a small Llama model on a CPU, in fewer operations, and without those that nothing needs.

Calls of hundreds of small operations take much of the time of a small model. And where only the last columns of a
prompt give logits, the last layer computes no more than keys and values for the others: of a model with four layers,
that saves up to a fifth of its products. `lighten` is the entry point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch.nn.functional import linear, silu
from transformers import DynamicCache, LlamaForCausalLM, PreTrainedModel
from transformers.activations import SiLUActivation
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import (
    LlamaDecoderLayer,
    LlamaModel,
    LlamaRMSNorm,
    eager_attention_forward,
)

from mipo_bench.harness.inference.layers.packed_linear import is_large_on_cpu

KEPT = "kept_columns"
"""The argument of a model with such layers that says how many of the last columns give hidden states."""
_PROMPT, _WANTED = 48, 16
"""Tokens of the prompt that is tried, and its last columns whose logits are wanted."""

_KINDS = {torch.nn.Linear, LlamaRMSNorm, SiLUActivation}
"""The parts of a layer whose work `LightLayer` does."""


class LightLayer:
    """What `LlamaDecoderLayer.forward` computes, in place where it can, without calls of its submodules.

    It cannot be trained, and hooks on the submodules are not called.
    """

    def __init__(self, layer: LlamaDecoderLayer, *, is_last: bool) -> None:
        """Its weights are those of `layer`."""
        self.attention, self.mlp, self.is_last = layer.self_attn, layer.mlp, is_last
        self.norms = layer.input_layernorm, layer.post_attention_layernorm
        self.signs = torch.ones(self.attention.head_dim)
        self.signs[: self.attention.head_dim // 2] = -1

    @torch.no_grad()
    def __call__(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_embeddings: Any = None,
        past_key_values: Any = None,
        kept_columns: int | None = None,
        **options: Any,
    ) -> torch.Tensor:
        """(rows, columns, size) to the same; of the last layer to the last `kept_columns` alone."""
        rows, columns = hidden_states.shape[:2]
        kept = min(kept_columns or columns, columns) if self.is_last else columns
        attention, normed = self.attention, _norm(hidden_states, self.norms[0])
        key, value = (
            linear(normed, layer.weight).view(rows, columns, -1, attention.head_dim)
            for layer in (attention.k_proj, attention.v_proj)
        )
        hidden_states, normed = hidden_states[:, -kept:], normed[:, -kept:]
        query = linear(normed, attention.q_proj.weight).view(rows, kept, -1, attention.head_dim)
        cos, sin = (part.unsqueeze(2) for part in position_embeddings)
        sin = sin * self.signs
        query, key = _turned(query, cos[:, -kept:], sin[:, -kept:]), _turned(key, cos, sin)
        query, key, value = (states.transpose(1, 2) for states in (query, key, value))
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, attention.layer_idx)
        if kept < columns:
            attention_mask = _last_rows(attention_mask, kept, key)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(attention.config._attn_implementation, eager_attention_forward)
        mixed = attend(attention, query, key, value, attention_mask, dropout=0.0, scaling=attention.scaling, **options)
        hidden_states = linear(mixed[0].reshape(rows, kept, -1), attention.o_proj.weight).add_(hidden_states)
        normed = _norm(hidden_states, self.norms[1])
        gated = silu(linear(normed, self.mlp.gate_proj.weight), inplace=True)
        gated.mul_(linear(normed, self.mlp.up_proj.weight))
        return hidden_states.add_(linear(gated, self.mlp.down_proj.weight))


def _norm(states: torch.Tensor, norm: Any) -> torch.Tensor:
    """`LlamaRMSNorm` in float32."""
    scale = states.pow(2).mean(-1, keepdim=True).add_(norm.variance_epsilon).rsqrt_()
    return (states * scale).mul_(norm.weight)


def _turned(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions (Su et al. 2021, arXiv 2104.09864) of (rows, columns, heads, size).

    `sin` is negative in its first half, in place of the first half of the rolled states.
    """
    return (states * cos).add_(states.roll(states.shape[-1] // 2, dims=-1).mul_(sin))


def _last_rows(mask: torch.Tensor | None, kept: int, key: torch.Tensor) -> torch.Tensor:
    """The mask of the last queries, which see all columns up to their own; (rows or 1, 1, kept, columns)."""
    if mask is not None:
        return mask[:, :, -kept:]
    columns = torch.arange(key.shape[2])
    hidden = columns > columns[-kept:].unsqueeze(1)
    return torch.zeros(hidden.shape).masked_fill_(hidden, torch.finfo(torch.float32).min)[None, None]


def lighten(model: PreTrainedModel) -> bool:
    """Let a small Llama model on a CPU compute its layers by `LightLayer`; whether it does.

    The layers stay as they are where a short prompt and a step after it would get other bits, or cannot be computed.
    """
    if not _fits(model):
        return False
    layers: list[Any] = list(cast("LlamaModel", model.base_model).layers)
    own = [vars(layer).get("forward") for layer in layers]
    if any(own):  # hooks of accelerate, for example; or this function was here before
        return all(isinstance(forward, LightLayer) for forward in own)
    if _is_same(model, layers):
        return True
    for layer in layers:
        vars(layer).pop("forward", None)
    return False


def _fits(model: PreTrainedModel) -> bool:
    """Whether the layers are small, and compute nothing but what `LightLayer` does."""
    if type(model) is not LlamaForCausalLM or model.device.type != "cpu" or is_large_on_cpu(model):
        return False
    layers = cast("LlamaModel", model.base_model).layers
    kinds = {type(part) for layer in layers for part in layer.modules() if not list(part.children())}
    biased = any(isinstance(part, torch.nn.Linear) and part.bias is not None for part in layers.modules())
    return kinds == _KINDS and not biased and model.dtype == torch.float32


@torch.no_grad()
def _is_same(model: PreTrainedModel, layers: Sequence[Any]) -> bool:
    """Replace the layers' forward passes; whether they give the same bits."""
    try:
        before = _outcome(model)
        for number, layer in enumerate(layers, start=1):
            layer.forward = LightLayer(layer, is_last=number == len(layers))
        return all(torch.equal(a, b) for a, b in zip(before, _outcome(model), strict=True))
    except Exception:  # noqa: BLE001 - a version of transformers may call its layers in any way
        return False


def _outcome(model: PreTrainedModel) -> list[torch.Tensor]:
    """Logits, keys and values of a short prompt, of which the last columns are wanted, and of a step after it."""
    tokens, cache = torch.arange(_PROMPT).unsqueeze(0) % model.config.vocab_size, DynamicCache()
    options: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
    prompt = model(input_ids=tokens, logits_to_keep=_WANTED, **{KEPT: _WANTED}, **options).logits
    step = model(input_ids=tokens[:, :1], **options).logits
    states: list[Any] = list(cache.layers)
    return [prompt, step, *(part for layer in states for part in (layer.keys, layer.values))]
