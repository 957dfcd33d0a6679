"""A training on a CPU computes no padding, and a prompt that both responses of a pair follow only once.

trl gives the model two padded rows for a pair: the prompt with the chosen response, and the prompt with the rejected
one. `share_prompts` lets the decoder compute one row for a batch instead, in which both responses of a pair follow
their prompt and do not see each other (prefix sharing, Wang and Hegde 2024, arXiv 2410.20305), and gives trl the hidden
states of the rows that it expects. The loss is the same up to rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from mipo_bench.harness.errors import first_line
from mipo_bench.harness.inference.layers.attention import AttentionMasks
from mipo_bench.harness.inference.memory import is_out_of_memory

JOINED = "joined"
_TOLERANCE, _BFLOAT16_TOLERANCE = 1e-3, 0.05
"""How far, in relation to its norm, the computation may be from that of two rows: their rounding differs."""


def joined_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    cu_seq_lens_q: torch.Tensor,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention by torch within each text of (1, heads, tokens, size); transformers' interface.

    `cu_seq_lens_q` are the ends of the texts, (texts), and `attention_mask` has a square for each, (texts, 1, longest,
    longest).
    """
    ends = cu_seq_lens_q.tolist()
    parts = []
    for text, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        q, k, v = (states[:, :, start:end] for states in (query, key, value))
        mask = attention_mask[text : text + 1, :, : end - start, : end - start]
        parts.append(sdpa_attention_forward(module, q, k, v, mask, **options)[0])
    return torch.cat(parts, dim=1), None


AttentionInterface.register(JOINED, joined_attention)
AttentionMaskInterface.register(JOINED, eager_mask)


@dataclass(frozen=True, slots=True)
class JoinedPairs:
    """Pairs as one text each: what both sides begin with, the rest of the first side, and the rest of the second."""

    ids: torch.Tensor
    """(pairs, columns)"""
    positions: torch.Tensor
    """The position of each token in its own side, (pairs, columns)."""
    parts: torch.Tensor
    """0 for the beginning, 1 and 2 for the rests, (pairs, columns)."""
    used: torch.Tensor
    """Whether a column has a token, (pairs, columns)."""
    columns: torch.Tensor
    """The column of each token of the rows that trl gave, (2 x pairs, length); 0 for padding."""


def join_pairs(ids: torch.Tensor, attention_mask: torch.Tensor) -> JoinedPairs:
    """Join rows of tokens, (2 x pairs, length), padded on the right: the chosen sides, then the rejected ones."""
    length = ids.shape[1]
    first_ids, second_ids = ids.chunk(2)
    first, second = attention_mask.sum(dim=1, keepdim=True).chunk(2)
    own = torch.arange(length, device=ids.device).expand_as(first_ids)
    alike = (first_ids == second_ids) & (own < first) & (own < second)
    shared = alike.cumprod(dim=1).sum(dim=1, keepdim=True)
    total = first + second - shared
    at = torch.arange(int(total.max()), device=ids.device).expand(len(total), -1)
    is_first = at < first
    position = torch.where(is_first, at, at - first + shared).clamp(max=length - 1)
    return JoinedPairs(
        torch.where(is_first, first_ids.gather(1, position), second_ids.gather(1, position)),
        position,
        torch.where(is_first, (at >= shared).long(), 2),
        at < total,
        torch.cat([own * (own < first), torch.where(own < shared, own, own - shared + first) * (own < second)]),
    )


class SharedPrompts:
    """The forward pass of a decoder over pairs. The first batch is computed in both ways, and decides between them."""

    def __init__(self, model: PreTrainedModel) -> None:
        """`model` is the model of which the decoder is a part."""
        self.model, self.plain, self.masks = model, model.base_model.forward, AttentionMasks(model)
        self.refused: str | None = None
        """Why each row is computed by itself; None while prompts are shared."""
        self._is_tried = False

    def __call__(self, input_ids: Any = None, attention_mask: Any = None, **options: Any) -> Any:
        """What the decoder gives, with the last hidden states of all rows, (2 x pairs, length, size)."""
        options = {name: value for name, value in options.items() if value is not None}  # peft passes every name
        if not self._is_tried:
            self._is_tried, self.refused = True, self._refusal(input_ids, attention_mask, options)
        if self.refused is not None:
            return self.plain(input_ids=input_ids, attention_mask=attention_mask, **options)
        return self._shared(input_ids, attention_mask, options)

    def _shared(self, ids: torch.Tensor, attention_mask: torch.Tensor, options: Mapping[str, Any]) -> Any:
        pairs = join_pairs(ids, attention_mask)
        queries, keys = pairs.parts.unsqueeze(2), pairs.parts.unsqueeze(1)
        lengths = pairs.used.sum(dim=1)
        ends = lengths.cumsum(dim=0)
        found = self.plain(
            input_ids=pairs.ids[pairs.used].unsqueeze(0),
            attention_mask=self.masks.additive(
                pairs.positions.unsqueeze(2), pairs.positions.unsqueeze(1), (keys > 0) & (keys != queries)
            ),
            position_ids=pairs.positions[pairs.used].unsqueeze(0),
            cu_seq_lens_q=ends,
            **options,
        )
        starts = (ends - lengths).repeat(2).unsqueeze(1)
        found.last_hidden_state = found.last_hidden_state[0, starts + pairs.columns]
        return found

    def _refusal(self, ids: torch.Tensor, attention_mask: torch.Tensor, options: Mapping[str, Any]) -> str | None:
        """Why this model is not computed in this way: an error of its own, or other hidden states."""
        if further := sorted({name for name, value in options.items() if value} - {"return_dict", "use_cache"}):
            return f"the decoder is called with {', '.join(further)}"
        before, reason = self.model.config._attn_implementation, "out of memory"
        with torch.no_grad():
            expected = self.plain(input_ids=ids, attention_mask=attention_mask, **options).last_hidden_state
            try:
                self.model.set_attn_implementation(JOINED)
                found = self._shared(ids, attention_mask, options).last_hidden_state
                reason = _difference(found, expected, attention_mask.bool())
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                reason = f"{type(error).__name__}: {first_line(error)}"
            finally:
                if reason:
                    self.model.set_attn_implementation(before)
        return reason or None


def _difference(found: torch.Tensor, expected: torch.Tensor, used: torch.Tensor) -> str:
    """How far hidden states are from others in the `used` places; nothing if they differ by rounding alone."""
    off = float((found - expected)[used].norm() / expected[used].norm())
    rounded = off <= (_BFLOAT16_TOLERANCE if torch.is_autocast_enabled(found.device.type) else _TOLERANCE)
    return "" if rounded else f"hidden states differ by {off:.2g}"


def share_prompts(model: PreTrainedModel) -> SharedPrompts | None:
    """Let a model on a CPU compute the sides of a pair together. Elsewhere, and without a decoder, nothing is done."""
    decoder: Any = model.base_model
    if model.device.type != "cpu" or decoder is model:
        return None
    shared = SharedPrompts(model)

    @functools.wraps(decoder.forward)
    def forward(*args: Any, **kwargs: Any) -> Any:
        return shared(*args, **kwargs)

    decoder.forward = forward
    return shared
