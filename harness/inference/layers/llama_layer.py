"""The layers of a small Llama model on a CPU, in fewer operations, and without those that nothing needs.

Calls of hundreds of small operations take much of the time of a small model. And where only the last columns of a
prompt give logits, the last layer computes no more than keys and values for the others: of a model with four layers,
that saves a fifth of its products. `lighten` is the entry point.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch.nn.functional import linear, silu
from transformers import DynamicCache, LlamaForCausalLM, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaModel, eager_attention_forward

from mipo_bench.harness.inference.layers.packed_linear import is_large_on_cpu

KEPT = "kept_columns"
"""The argument of a model with such layers that says how many of the last columns give hidden states."""
_PROMPT, _WANTED = 48, 16
"""Tokens of the prompt that is tried, and its last columns whose logits are wanted."""


class LightLayer:
    """What `LlamaDecoderLayer.forward` computes, in place where it can. It cannot be trained."""

    def __init__(self, layer: LlamaDecoderLayer, *, is_last: bool) -> None:
        """The weights of keys and values, and of queries with them, are copied into one matrix each."""
        attention, mlp = layer.self_attn, layer.mlp
        self.attention, self.config, self.is_last = attention, attention.config, is_last
        query, key, value = (getattr(attention, f"{name}_proj").weight for name in "qkv")
        self.query, self.key_value, self.all_three = query, torch.cat([key, value]), torch.cat([query, key, value])
        self.heads, self.key_heads = (len(weight) // attention.head_dim for weight in (query, key))
        self.out = attention.o_proj.weight
        self.gate, self.up, self.down = (getattr(mlp, f"{name}_proj").weight for name in ("gate", "up", "down"))
        self.signs = torch.ones(attention.head_dim)
        self.signs[: attention.head_dim // 2] = -1
        self.norms = layer.input_layernorm, layer.post_attention_layernorm

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
        normed = _norm(hidden_states, self.norms[0])
        cos, sin = (part.unsqueeze(2) for part in position_embeddings)
        sin = sin * self.signs
        if kept == columns:
            states = linear(normed, self.all_three).view(rows, columns, -1, self.attention.head_dim)
            turned = _turned(states[:, :, : self.heads + self.key_heads], cos, sin)
            query, key = turned.split([self.heads, self.key_heads], dim=2)
        else:
            hidden_states, last = hidden_states[:, -kept:], linear(normed[:, -kept:], self.query)
            states = linear(normed, self.key_value).view(rows, columns, -1, self.attention.head_dim)
            query = _turned(last.view(rows, kept, self.heads, -1), cos[:, -kept:], sin[:, -kept:])
            key = _turned(states[:, :, : self.key_heads], cos, sin)
        query, key, value = (part.transpose(1, 2) for part in (query, key, states[:, :, -self.key_heads :]))
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.attention.layer_idx)
        if kept < columns:
            attention_mask = _last_rows(attention_mask, kept, key)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        mixed = attend(
            self.attention, query, key, value, attention_mask, dropout=0.0, scaling=self.attention.scaling, **options
        )[0]
        hidden_states = linear(mixed.reshape(rows, kept, -1), self.out).add_(hidden_states)
        normed = _norm(hidden_states, self.norms[1])
        gated = silu(linear(normed, self.gate), inplace=True).mul_(linear(normed, self.up))
        return hidden_states.add_(linear(gated, self.down))


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

    The layers stay as they are where a short prompt and a step after it would get other bits.
    """
    if not _fits(model):
        return False
    layers = cast("LlamaModel", model.base_model).layers
    with torch.no_grad():
        before = _outcome(model)
        for number, layer in enumerate(layers, start=1):
            layer.forward = LightLayer(cast("LlamaDecoderLayer", layer), is_last=number == len(layers))
        if all(torch.equal(a, b) for a, b in zip(before, _outcome(model), strict=True)):
            return True
    for layer in layers:
        del layer.forward
    return False


def _fits(model: PreTrainedModel) -> bool:
    """Whether the layers are small, and compute nothing but what `LightLayer` does."""
    if type(model) is not LlamaForCausalLM or model.device.type != "cpu" or is_large_on_cpu(model):
        return False
    config, decoder = model.config, cast("LlamaModel", model.base_model)
    changed = any("forward" in vars(layer) for layer in decoder.layers)  # by hooks of accelerate, for example
    plain = config.hidden_act == "silu" and not config.attention_bias and not config.mlp_bias
    return plain and model.dtype == torch.float32 and not changed


def _outcome(model: PreTrainedModel) -> list[torch.Tensor]:
    """Logits, keys and values of a short prompt, of which the last columns are wanted, and of a step after it."""
    tokens, cache = torch.arange(_PROMPT).unsqueeze(0) % model.config.vocab_size, DynamicCache()
    options: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
    prompt = model(input_ids=tokens, logits_to_keep=_WANTED, **{KEPT: _WANTED}, **options).logits
    step = model(input_ids=tokens[:, :1], **options).logits
    states: list[Any] = list(cache.layers)
    return [prompt, step, *(part for layer in states for part in (layer.keys, layer.values))]
