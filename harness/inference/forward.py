"""Prefill: a causal language model of transformers computes many prompts at once in batches of fixed shape.

Rounding depends on the shape of a computation: a row that is padded to its neighbours, or in a batch of another size,
changes its last bits, and now and then a near tie. Therefore the shape is a function of the request alone: prompts are
padded on the right to one of a few widths, and each width has its number of rows; idle rows are computed and ignored.
The entry point is `Forward.prefill`; `likelihoods` and `slots` continue the KV caches that it returns.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, TypeVar

import torch
from transformers import DynamicCache, PreTrainedModel

from mipo_bench.harness.inference.layers.attention import GROUPED, AttentionMasks
from mipo_bench.harness.inference.layers.llama_layer import KEPT, lighten
from mipo_bench.harness.inference.layers.packed_linear import is_large_on_cpu, pack_linear_layers
from mipo_bench.harness.inference.memory import free_memory, is_out_of_memory, on_device
from mipo_bench.harness.inference.shapes import COARSE, FINE, in_parts, prefix_length

T = TypeVar("T")
R = TypeVar("R")
Tokens = tuple[int, ...]
_TOKENS_ON_CPU, _TOKENS_ELSEWHERE = 1024, 16384
"""Prompt tokens that are computed in one call: more hardly raise the speed."""
_LOGITS_ON_CPU, _LOGITS_ELSEWHERE = 1 << 27, 1 << 29
"""Logits (tokens x vocabulary) that one call may give."""
_FEWER = "out of memory: fewer prompts were computed together from there on"
_PREFIXES = 2
"""Beginnings of prompts that are kept: a prompt and its contrast may each have one."""
_UNFUSED_COLUMNS = 256
"""Columns up to which `grouped_attention` takes no more time or memory than torch's fused one."""


@dataclass(frozen=True, slots=True)
class PrefilledPrompt:
    """A computed prompt: its tokens, its row of a KV cache, and the logits of the next token, (vocabulary)."""

    ids: Tokens
    cache: DynamicCache
    row: int
    logits: torch.Tensor


def _alone(logits: torch.Tensor) -> torch.Tensor:
    """A copy in 32 bits: a part of a batch's logits would keep all of them in memory."""
    return logits.to(torch.float32, copy=True)


def _fitted(states: torch.Tensor, rows: torch.Tensor, columns: int) -> torch.Tensor:
    """The first columns of these rows, with zeros behind them where there are fewer."""
    found = states[:, :, :columns].index_select(0, rows.to(states.device))
    missing = columns - found.shape[2]
    return torch.nn.functional.pad(found, (0, 0, 0, missing)) if missing else found


class Forward:
    """A model in evaluation mode. Running out of memory halves the rows of its batches, down to one."""

    def __init__(
        self, model: PreTrainedModel, max_rows: int, notes: list[str], turn_ends: Collection[int] = ()
    ) -> None:
        """No batch has more than `max_rows` rows; remarks for the report are added to `notes`.

        The linear layers of a large model on a CPU are packed in place. `turn_ends` are the tokens that end a turn.
        """
        self.turn_ends = frozenset(turn_ends)
        self._prefixes: dict[Tokens, PrefilledPrompt] = {}
        self.model, self.max_rows, self.notes = model, max_rows, notes
        self.device = model.device
        self.masks = AttentionMasks(model)
        self._has_logits_to_keep = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._attention = self._current_attention = getattr(model.config, "_attn_implementation", None)
        config = model.config.get_text_config()
        self._vocabulary, self._positions = int(config.vocab_size), getattr(config, "max_position_embeddings", None)
        self._one_by_one = is_large_on_cpu(model)
        on_cpu = self.device.type == "cpu"
        self.shapes = FINE if on_cpu else COARSE
        self._tokens_per_call = _TOKENS_ON_CPU if on_cpu else _TOKENS_ELSEWHERE
        self._logits_per_call = _LOGITS_ON_CPU if on_cpu else _LOGITS_ELSEWHERE
        pack_linear_layers(model)
        self._is_light = lighten(model)

    @cached_property
    def capture_stream(self) -> torch.cuda.Stream:
        """The one CUDA stream on which graphs are captured: cuBLAS keeps memory for each stream that it has seen."""
        return torch.cuda.Stream(self.device)

    def width(self, tokens: int) -> int:
        """Columns that a prompt or text is padded to: no more than the model has positions, which may be learned."""
        width, positions = self.shapes.width(tokens), self._positions or 0
        return min(width, positions) if positions >= tokens else width

    def batch_rows(self, width: int, with_logits: int) -> int:
        """Rows of a batch of so many columns, of which the last `with_logits` give logits."""
        if self._one_by_one:
            return 1
        by_logits = self._logits_per_call // (with_logits * self._vocabulary)
        return max(1, min(self.max_rows, self._tokens_per_call // width, by_logits))

    def prompt_rows(self, width: int) -> int:
        """Prompts of this width that are computed together."""
        return self.batch_rows(width, self.shapes.step(width))

    def choose_attention(self, columns: int | None) -> None:
        """Choose how attention to so many columns is computed; None for a step of one token.

        On a CPU, short prompts and steps take `grouped_attention` in place of torch's fused one (sdpa). It is faster
        there, and rounds all rows alike: the fused one gives each thread a buffer of another alignment. Long prompts
        would need far more memory with it.
        """
        if self.device.type == "cpu" and self._attention == "sdpa":
            wanted = GROUPED if columns is None or columns <= _UNFUSED_COLUMNS else "sdpa"
            if wanted != self._current_attention:
                self.model.set_attn_implementation(wanted)
                self._current_attention = wanted

    def prefill(self, prompts: Iterable[Tokens]) -> Iterator[PrefilledPrompt]:
        """Compute each different prompt once, those of one width together."""
        groups: defaultdict[int, list[Tokens]] = defaultdict(list)
        for ids in dict.fromkeys(prompts):
            groups[self.width(len(ids))].append(ids)
        for width, group in groups.items():
            for batch in in_parts(group, self.prompt_rows(width)):
                yield from self.prefill_batch(batch, width)

    def prefill_batch(self, batch: Sequence[Tokens], width: int) -> list[PrefilledPrompt]:
        """Compute prompts of one width, at most `prompt_rows` of them, a row each."""

        def compute(prompts: Sequence[Tokens], rows: int) -> list[PrefilledPrompt]:
            if self._one_by_one:
                return [self._prefilled_alone(prompts[0])]
            last, cache = self.shapes.step(width), DynamicCache()
            logits = self._logits(self.padded(prompts, rows, width), cache, last)
            return [
                PrefilledPrompt(prompt, cache, row, _alone(logits[row, len(prompt) - 1 - width]))
                for row, prompt in enumerate(prompts)
            ]

        return self.in_memory(compute, batch, lambda: self.prompt_rows(width))

    def _prefilled_alone(self, ids: Tokens) -> PrefilledPrompt:
        """Compute a prompt of a large model, without padding, after its prefix where it has one."""
        cut, cache = self.prefix_length(ids), DynamicCache()
        if cut:
            for number, (keys, values) in enumerate(self.stacked([self._prefix(ids[:cut])], cut)):
                cache.update(keys, values, number)
        logits = self._logits(self.tensor([ids[cut:]]), cache, 1)
        return PrefilledPrompt(ids, cache, 0, _alone(logits[0, -1]))

    def _logits(self, ids: torch.Tensor, cache: DynamicCache, last: int) -> torch.Tensor:
        """Logits after the last tokens of rows that continue a cache, (rows, last, vocabulary)."""
        self.choose_attention(cache.get_seq_length() + ids.shape[1])
        options = {"logits_to_keep": last} if self._has_logits_to_keep else {}
        options |= {KEPT: last} if self._is_light else {}
        logits: torch.Tensor = self.model(input_ids=ids, past_key_values=cache, use_cache=True, **options).logits
        return logits[:, -last:]

    def prefix_length(self, ids: Tokens) -> int:
        """Tokens of a prompt that are computed by themselves, for all prompts that begin with them; 0 for none.

        Only where prompts are computed one by one: elsewhere those of one width are computed together.
        """
        return prefix_length(ids, self.turn_ends) if self._one_by_one else 0

    def _prefix(self, ids: Tokens) -> PrefilledPrompt:
        """The beginning of prompts, computed unless it was among the last ones."""
        found = self._prefixes.pop(ids, None)
        if found is None:
            while len(self._prefixes) >= _PREFIXES:
                del self._prefixes[next(iter(self._prefixes))]
            cache = DynamicCache()
            found = PrefilledPrompt(ids, cache, 0, _alone(self._logits(self.tensor([ids]), cache, 1)[0, -1]))
        self._prefixes[ids] = found
        return found

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

    def stacked(self, prompts: Sequence[PrefilledPrompt], columns: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values of prompts, layer by layer, (prompts, heads, columns, head size).

        Columns beyond a prompt's tokens mean nothing, but are numbers. Prompts of one cache should follow one another.
        """
        groups = [list(group) for _, group in groupby(prompts, key=lambda prompt: id(prompt.cache))]
        caches: list[Any] = [group[0].cache.layers for group in groups]
        rows = [self.tensor([prompt.row for prompt in group]) for group in groups]
        for layers in zip(*caches, strict=True):
            keys = [_fitted(layer.keys, index, columns) for layer, index in zip(layers, rows, strict=True)]
            values = [_fitted(layer.values, index, columns) for layer, index in zip(layers, rows, strict=True)]
            yield (torch.cat(keys), torch.cat(values)) if len(groups) > 1 else (keys[0], values[0])

    def tensor(self, values: Any) -> torch.Tensor:
        """Whole numbers on the model's device."""
        found: torch.Tensor = on_device(values, self.device, torch.long)
        return found

    def padded(self, batch: Sequence[Tokens], rows: int, width: int) -> torch.Tensor:
        """Tokens on the left of each row, (rows, width)."""
        padded = [[*ids, *[0] * (width - len(ids))] for ids in batch]
        return self.tensor(padded + [[0] * width] * (rows - len(batch)))
