"""Attention of a model of transformers: a function without repeated keys, and the masks that are added to its scores.

`grouped_attention` is registered with transformers under the name GROUPED.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask

GROUPED = "grouped"
_NEVER = 1 << 40
"""The position of a column without a token: later than every query."""


def grouped_attention(
    module: torch.nn.Module,  # noqa: ARG001 - transformers' interface
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of (rows, heads, queries, size) to keys of (rows, key heads, columns, size), without dropout.

    The heads that share a key head are multiplied with it as further queries (grouped-query attention, arXiv
    2305.13245). transformers' eager attention copies the keys for each of them, which takes longer than the product.
    `softcap` bounds the scores as Gemma 2 does. Returns (rows, queries, heads, size).
    """
    rows, heads, queries, size = query.shape
    key_heads = key.shape[1]
    grouped = query.reshape(rows, key_heads, heads // key_heads * queries, size)
    scores = torch.matmul(grouped, key.transpose(2, 3)).mul_(scaling).view(rows, heads, queries, -1)
    if softcap is not None:
        scores = scores.div_(softcap).tanh_().mul_(softcap)
    if attention_mask is not None:
        scores = scores.add_(attention_mask)
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    mixed = torch.matmul(weights.view(rows, key_heads, -1, key.shape[2]), value)
    return mixed.view(rows, heads, queries, -1).transpose(1, 2).contiguous(), None


AttentionInterface.register(GROUPED, grouped_attention)
AttentionMaskInterface.register(GROUPED, eager_mask)


class AttentionMasks:
    """Masks that are added to a model's attention scores, with one for each kind of its layers if it has several."""

    def __init__(self, model: PreTrainedModel) -> None:
        """The kinds of layers are read at the first mask."""
        self.model, self.device, self.dtype = model, model.device, model.dtype

    @cached_property
    def windows(self) -> dict[str, int | None]:
        """See `attention_windows`."""
        return attention_windows(self.model.config.get_text_config())

    def continuation(self, lengths: torch.Tensor, width: int, columns: int) -> Any:
        """The mask for texts that continue prompts of `lengths` tokens, (rows, 1, columns, width + columns).

        Token t of a row, at position length + t, sees the row's prompt, which fills the first columns of `width`, and
        the tokens up to itself behind them, within the layer's window.
        """
        prompt = torch.arange(width, device=self.device).expand(len(lengths), width)
        own = lengths.unsqueeze(1) + torch.arange(columns, device=self.device)
        keys = torch.cat([prompt.masked_fill(prompt >= lengths.unsqueeze(1), _NEVER), own], dim=1)
        return self.additive(own.unsqueeze(2), keys.unsqueeze(1))

    def additive(self, queries: torch.Tensor, keys: torch.Tensor, never: torch.Tensor | None = None) -> Any:
        """The mask for queries at positions (rows, queries, 1) and keys at positions (rows, 1, columns).

        `never` marks keys that a query must not see wherever they are, (rows, queries, columns).
        """
        masks = {kind: self._additive(queries, keys, window, never) for kind, window in self.windows.items()}
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _additive(
        self, queries: torch.Tensor, keys: torch.Tensor, window: int | None, never: torch.Tensor | None
    ) -> torch.Tensor:
        hidden = keys > queries
        if never is not None:
            hidden |= never
        if window is not None:
            hidden |= keys <= queries - window
        mask = torch.zeros(hidden.shape, dtype=self.dtype, device=self.device)
        return mask.masked_fill_(hidden, torch.finfo(self.dtype).min).unsqueeze(1)


def attention_windows(config: Any) -> dict[str, int | None]:
    """Kind of layer -> its attention window in tokens, None for all. Raises ValueError for an unknown kind."""
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ["sliding_attention" if window else "full_attention"])
    unknown = kinds - {"full_attention", "sliding_attention"}
    if unknown:
        raise ValueError(f"layers of kind {', '.join(sorted(unknown))}")
    return {kind: window if kind == "sliding_attention" else None for kind in sorted(kinds)}
