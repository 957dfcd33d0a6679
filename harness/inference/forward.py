"""Prefill: a causal language model of transformers computes many prompts at once in batches of fixed shape.

Rounding depends on the shape of a computation: a row that is padded to its neighbours, or in a batch of another size,
changes its last bits, and now and then a near tie. Therefore the shape is a function of the request alone: prompts are
padded on the right to one of a few widths, and each width has its number of rows; idle rows are computed and ignored.
The entry point is `Forward.prefill`; `likelihoods` and `slots` continue the KV caches that it returns.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from transformers import DynamicCache, PreTrainedModel

from mipo_bench.harness.inference.memory import free_memory, is_out_of_memory
from mipo_bench.harness.inference.shapes import in_parts, step_for, width_for

T = TypeVar("T")
R = TypeVar("R")
Tokens = tuple[int, ...]
_TOKENS_ON_CPU, _TOKENS_ELSEWHERE = 1024, 16384
"""Prompt tokens that are computed in one call: more hardly raise the speed."""
_LARGE_MODEL = 1 << 25
"""Parameters from which one prompt keeps a CPU busy, so that computing idle rows would cost more than it saves."""
_MAX_LOGITS = 1 << 27
"""Logits (tokens x vocabulary) that one call may give."""
_FEWER = "out of memory: fewer prompts were computed together from there on"
_EAGER_COLUMNS = 256
"""Columns up to which eager attention takes no more time or memory than torch's fused one."""
_NEVER = 1 << 40
"""The position of a column without a token: later than every query."""


@dataclass(frozen=True, slots=True)
class PrefilledPrompt:
    """A computed prompt: its tokens, its row of a KV cache, and the logits of the next token, (vocabulary)."""

    ids: Tokens
    cache: DynamicCache
    row: int
    logits: torch.Tensor

    def layers(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values of each layer, (heads, columns, head size); columns beyond the tokens mean nothing."""
        found: list[Any] = self.cache.layers
        return [(layer.keys[self.row], layer.values[self.row]) for layer in found]


class Forward:
    """A model in evaluation mode. Running out of memory halves the rows of its batches, down to one."""

    def __init__(self, model: PreTrainedModel, max_rows: int, notes: list[str]) -> None:
        """No batch has more than `max_rows` rows; remarks for the report are added to `notes`."""
        self.model, self.max_rows, self.notes = model, max_rows, notes
        self.device = model.device
        self.masks = AttentionMasks(model)
        self._has_logits_to_keep = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._attention = self._current_attention = getattr(model.config, "_attn_implementation", None)
        self._vocabulary = int(model.config.get_text_config().vocab_size)
        self._tokens_per_call = self._efficient_tokens()

    @cached_property
    def capture_stream(self) -> torch.cuda.Stream:
        """The one CUDA stream on which graphs are captured: cuBLAS keeps memory for each stream that it has seen."""
        return torch.cuda.Stream(self.device)

    def _efficient_tokens(self) -> int:
        if self.device.type != "cpu":
            return _TOKENS_ELSEWHERE
        return _TOKENS_ON_CPU if sum(p.numel() for p in self.model.parameters()) <= _LARGE_MODEL else 0

    def batch_rows(self, width: int, with_logits: int) -> int:
        """Rows of a batch of so many columns, of which the last `with_logits` give logits."""
        by_logits = _MAX_LOGITS // (with_logits * self._vocabulary)
        return max(1, min(self.max_rows, self._tokens_per_call // width, by_logits))

    def prompt_rows(self, width: int) -> int:
        """Prompts of this width that are computed together."""
        return self.batch_rows(width, step_for(width))

    def choose_attention(self, columns: int | None) -> None:
        """Choose how attention to so many columns is computed; None for a step of one token.

        On a CPU, short prompts and steps take transformers' eager attention in place of torch's fused one (sdpa). It is
        faster there, and rounds all rows alike: the fused one gives each thread a buffer of another alignment. Long
        prompts would need far more memory with it.
        """
        if self.device.type == "cpu" and self._attention == "sdpa":
            wanted = "eager" if columns is None or columns <= _EAGER_COLUMNS else "sdpa"
            if wanted != self._current_attention:
                self.model.set_attn_implementation(wanted)
                self._current_attention = wanted

    def prefill(self, prompts: Iterable[Tokens]) -> Iterator[PrefilledPrompt]:
        """Compute each different prompt once, those of one width together."""
        groups: defaultdict[int, list[Tokens]] = defaultdict(list)
        for ids in dict.fromkeys(prompts):
            groups[width_for(len(ids))].append(ids)
        for width, group in groups.items():
            for batch in in_parts(group, self.prompt_rows(width)):
                yield from self.prefill_batch(batch, width)

    def prefill_batch(self, batch: Sequence[Tokens], width: int) -> list[PrefilledPrompt]:
        """Compute prompts of one width, at most `prompt_rows` of them, a row each."""
        last = step_for(width)
        options = {"logits_to_keep": last} if self._has_logits_to_keep else {}

        def compute(prompts: Sequence[Tokens], rows: int) -> list[PrefilledPrompt]:
            self.choose_attention(width)
            cache, ids = DynamicCache(), self.padded(prompts, rows, width)
            logits = self.model(input_ids=ids, past_key_values=cache, use_cache=True, **options).logits[:, -last:]
            return [
                PrefilledPrompt(prompt, cache, row, logits[row, len(prompt) - 1 - width].float())
                for row, prompt in enumerate(prompts)
            ]

        return self.in_memory(compute, batch, lambda: self.prompt_rows(width))

    def in_memory(
        self, compute: Callable[[Sequence[T], int], list[R]], batch: Sequence[T], rows: Callable[[], int]
    ) -> list[R]:
        """`compute(batch, rows())`; where memory is too small for that, the same in batches of fewer rows.

        Raises the error of `compute` where a single row is too much.
        """
        tried = rows()
        try:
            return compute(batch, tried)
        except Exception as error:
            if tried == 1 or not is_out_of_memory(error):
                raise
        free_memory()  # the error is gone by now: it held the frames that held the memory
        while rows() >= tried:
            self._tokens_per_call //= 2
        if _FEWER not in self.notes:
            self.notes.append(_FEWER)
        return [one for part in in_parts(batch, rows()) for one in self.in_memory(compute, part, rows)]

    def tensor(self, values: Any) -> torch.Tensor:
        """Whole numbers on the model's device."""
        return torch.tensor(values, dtype=torch.long, device=self.device)

    def padded(self, batch: Sequence[Tokens], rows: int, width: int) -> torch.Tensor:
        """Tokens on the left of each row, (rows, width)."""
        padded = [[*ids, *[0] * (width - len(ids))] for ids in batch]
        return self.tensor(padded + [[0] * width] * (rows - len(batch)))


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

    def additive(self, queries: torch.Tensor, keys: torch.Tensor) -> Any:
        """The mask for queries at positions (rows, queries, 1) and keys at positions (rows, 1, columns)."""
        masks = {kind: self._additive(queries, keys, window) for kind, window in self.windows.items()}
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _additive(self, queries: torch.Tensor, keys: torch.Tensor, window: int | None) -> torch.Tensor:
        hidden = keys > queries
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
