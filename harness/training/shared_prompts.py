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
from mipo_bench.harness.training.job import Training

JOINED, _REPLACED = "joined", "sdpa"
"""The attention of joined pairs, and the one of transformers in whose place it is set."""
_TOLERANCE, _BFLOAT16_TOLERANCE = 1e-3, 0.05
"""How far the hidden states of a response may be from those of trl's rows: the norm of the difference over their norm.

The order of the sums differs, and so does their rounding.
"""
Batch = Mapping[str, torch.Tensor]
"""What trl's collator gives: `input_ids`, `attention_mask` and `completion_mask`, (2 x pairs, length) each."""


@dataclass(slots=True)
class _Texts:
    """The joined pairs in their one row of tokens."""

    lengths: list[int]
    is_read: bool = False
    """Whether `joined_attention` has seen them: some architectures have an attention of their own."""


def joined_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    joined_texts: _Texts,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention by torch (sdpa) within each text of (1, heads, tokens, size); transformers' interface.

    `attention_mask` has a square for each text, (texts, 1, longest, longest).
    """
    joined_texts.is_read = True
    states = (each.split(joined_texts.lengths, dim=2) for each in (query, key, value))  # gradients of slices are slow
    parts = []
    for text, (q, k, v) in enumerate(zip(*states, strict=True)):
        mask = attention_mask[text : text + 1, :, : q.shape[2], : q.shape[2]]
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
    """The forward pass of a decoder over pairs: as trl asks for it, until `try_on` has accepted the other way."""

    def __init__(self, model: PreTrainedModel) -> None:
        """`model` is the model of which the decoder is a part."""
        self.model, self.plain = model, model.base_model.forward
        self.refused = ""
        """Why each row is computed by itself; empty while prompts are shared."""
        self._masks: AttentionMasks | None = None

    def __call__(self, input_ids: Any = None, attention_mask: Any = None, **options: Any) -> Any:
        """What the decoder gives, with the last hidden states of all rows, (2 x pairs, length, size)."""
        further = sorted({name for name, value in options.items() if value} - {"return_dict", "use_cache"})
        if further and self._masks is not None:  # such as the router's logits, for each token of the rows
            self._refuse(f"the decoder is called with {', '.join(further)}")
        if self._masks is None:
            return self.plain(input_ids=input_ids, attention_mask=attention_mask, **options)
        return self._shared(self._masks, input_ids, attention_mask, options)

    def try_on(self, batch: Batch) -> None:
        """Compute a batch in both ways, and share prompts from here on where the responses' hidden states agree."""
        is_training, ids, attention_mask = self.model.training, batch["input_ids"], batch["attention_mask"]
        used: dict[str, Any] = {"input_ids": ids, "attention_mask": attention_mask, "use_cache": False}
        if self.model.config._attn_implementation != _REPLACED:
            self._refuse(f"its attention is {self.model.config._attn_implementation}, not {_REPLACED}")
            return
        self.model.eval()
        try:
            with torch.no_grad():
                expected = self.plain(**used).last_hidden_state
                self.model.set_attn_implementation(JOINED)
                self._masks = AttentionMasks(self.model)
                found = self(**used).last_hidden_state
            if difference := _difference(found, expected, batch["completion_mask"].bool()):
                self._refuse(difference)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self._refuse(f"{type(error).__name__}: {first_line(error)}")
        finally:
            self.model.train(is_training)
            torch.clear_autocast_cache()  # its weights in bfloat16 have no gradients here

    def _refuse(self, reason: str) -> None:
        self.refused, self._masks = reason, None
        if self.model.config._attn_implementation == JOINED:
            self.model.set_attn_implementation(_REPLACED)

    def _shared(
        self, masks: AttentionMasks, ids: torch.Tensor, attention_mask: torch.Tensor, options: Mapping[str, Any]
    ) -> Any:
        pairs = join_pairs(ids, attention_mask)
        queries, keys = pairs.parts.unsqueeze(2), pairs.parts.unsqueeze(1)
        lengths = pairs.used.sum(dim=1)
        ends = lengths.cumsum(dim=0)
        texts = _Texts(lengths.tolist())
        found = self.plain(
            input_ids=pairs.ids[pairs.used].unsqueeze(0),
            attention_mask=masks.additive(
                pairs.positions.unsqueeze(2), pairs.positions.unsqueeze(1), (keys > 0) & (keys != queries)
            ),
            position_ids=pairs.positions[pairs.used].unsqueeze(0),
            joined_texts=texts,
            **options,
        )
        if not texts.is_read:
            raise TypeError("the attention of this architecture cannot be replaced")
        starts = (ends - lengths).repeat(2).unsqueeze(1)
        found.last_hidden_state = found.last_hidden_state[0, starts + pairs.columns]
        return found


def _difference(found: torch.Tensor, expected: torch.Tensor, responses: torch.Tensor) -> str:
    """How far the states of a response are from the expected ones; empty where they differ by rounding alone."""
    counted = responses.unsqueeze(2)
    size = (expected * counted).flatten(1).norm(dim=1)
    off = float((((found - expected) * counted).flatten(1).norm(dim=1) / size.clamp(min=1e-6)).max())
    tolerance = _BFLOAT16_TOLERANCE if torch.is_autocast_enabled(found.device.type) else _TOLERANCE
    return "" if off <= tolerance else f"hidden states of a response differ by {off:.2g} of their norm"


def share_prompts(model: PreTrainedModel, training: Training) -> SharedPrompts | None:
    """Prepare a model that one process trains on a CPU for `SharedPrompts.try_on`.

    None elsewhere, and for a model without a decoder of its own. A model on its way to a GPU is still on the CPU.
    """
    decoder: Any = model.base_model
    if training.placement.device != "cpu" or training.settings.processes > 1:
        return None
    if decoder is model or model.config.get_text_config() is not model.config:
        return None
    shared = SharedPrompts(model)

    @functools.wraps(decoder.forward)
    def forward(*args: Any, **kwargs: Any) -> Any:
        return shared(*args, **kwargs)

    decoder.forward = forward
    return shared
