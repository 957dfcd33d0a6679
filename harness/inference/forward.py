"""A causal language model of transformers, called on many prompts at once in batches of fixed shape.

Rounding depends on the shape of a computation: a row padded to its neighbours, or in a batch of another size, changes
its last bits, and now and then a near tie. So the shape is a function of the request alone: prompts are padded on the
right to one of a few widths, and each width has its number of rows. Rows that are not needed are computed too, and
thrown away. The same holds for the texts whose likelihood is asked for, which continue the computed prompts.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from mipo_bench.harness.inference.memory import free_memory, is_out_of_memory
from mipo_bench.harness.protocols import Likelihood

if TYPE_CHECKING:
    import torch
    from transformers import DynamicCache

T = TypeVar("T")
Tokens = tuple[int, ...]
_STEPS = ((128, 16), (256, 32), (512, 64), (2048, 128), (1 << 60, 256))
"""Up to so many tokens, widths are a multiple of the second number."""
_ON_CPU, _ELSEWHERE = 1024, 16384
"""Tokens of prompts that are computed in one call: more hardly raise the speed."""
_LARGE = 1 << 25
"""Parameters from which one prompt keeps a CPU busy, so that computing idle rows would cost more than it saves."""
_SCORES = 1 << 27
"""Scores (tokens x vocabulary) that one call may give."""
_ROUND = 4
"""Batches of prompts whose texts are computed together."""
_SMALLER = "out of memory: fewer prompts were computed together from there on"
_SHORT = 256
"""Tokens up to which plain attention takes no more time or memory than the fused one."""


def width_step(tokens: int) -> int:
    """What the width of so many tokens is a multiple of."""
    return next(step for limit, step in _STEPS if tokens <= limit)


def width_for(tokens: int) -> int:
    """Columns that so many tokens are computed in: few values, not much larger than needed."""
    step = width_step(tokens)
    return -(-tokens // step) * step


@dataclass(frozen=True, slots=True)
class PrefilledPrompt:
    """A computed prompt: its tokens, its row of keys and values, and the scores of the next token (vocabulary)."""

    ids: Tokens
    cache: DynamicCache
    row: int
    scores: torch.Tensor

    def layers(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values of each layer, (heads, columns, width); beyond the tokens they mean nothing."""
        found: list[Any] = self.cache.layers
        return [(layer.keys[self.row], layer.values[self.row]) for layer in found]


@dataclass(frozen=True, slots=True)
class Continuation:
    """A text of several tokens after a computed prompt; `position` says which text of which question it is."""

    position: tuple[int, int]
    prefix: PrefilledPrompt
    tokens: Tokens


class Forward:
    """A model in evaluation mode. Running out of memory halves the rows of its batches, down to one."""

    def __init__(self, model: Any, max_rows: int, notes: list[str]) -> None:
        """No batch has more than `max_rows` rows; `notes` takes what a report should say."""
        self.model, self.max_rows, self.notes = model, max_rows, notes
        self.device = model.device
        self._takes_logits_to_keep = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._attention = self._current_attention = getattr(model.config, "_attn_implementation", None)
        self._vocabulary = int(model.config.get_text_config().vocab_size)
        self._batch_tokens = self._fast_batch_tokens()

    @cached_property
    def attention_windows(self) -> dict[str, int | None]:
        """See `attention_windows`."""
        return attention_windows(self.model.config.get_text_config())

    @cached_property
    def capture_stream(self) -> torch.cuda.Stream:
        """The stream of the GPU on which steps are recorded: one, for cuBLAS keeps memory for each that it has seen."""
        import torch

        return torch.cuda.Stream(self.device)

    def _fast_batch_tokens(self) -> int:
        if self.device.type != "cpu":
            return _ELSEWHERE
        return _ON_CPU if sum(p.numel() for p in self.model.parameters()) <= _LARGE else 0

    def rows(self, width: int, scored: int) -> int:
        """Rows of a batch of so many columns, of which the last `scored` are given scores."""
        return max(1, min(self.max_rows, self._batch_tokens // width, _SCORES // (scored * self._vocabulary)))

    def choose_attention(self, columns: int | None) -> None:
        """Choose how attention to so many columns is computed; None for a step of one token.

        On a CPU, short prompts and steps take transformers' plain attention in place of torch's fused one. It is faster
        there, and rounds all rows alike: the fused one gives each thread a buffer of another alignment. It would need
        far more memory for long prompts.
        """
        if self.device.type == "cpu" and self._attention == "sdpa":
            wanted = "eager" if columns is None or columns <= _SHORT else "sdpa"
            if wanted != self._current_attention:
                self.model.set_attn_implementation(wanted)
                self._current_attention = wanted

    def prefill(self, prompts: Iterable[Tokens]) -> Iterator[PrefilledPrompt]:
        """Compute each different prompt once, those of one width together."""
        groups: defaultdict[int, list[Tokens]] = defaultdict(list)
        for ids in dict.fromkeys(prompts):
            groups[width_for(len(ids))].append(ids)
        for width, group in groups.items():
            for batch in chunked(group, self.prompt_rows(width)):
                yield from self.prefill_batch(batch, width)

    def prompt_rows(self, width: int) -> int:
        """Prompts of this width that are computed together."""
        return self.rows(width, width_step(width))

    def prefill_batch(self, batch: Sequence[Tokens], width: int) -> list[PrefilledPrompt]:
        """Compute prompts of one width, at most `prompt_rows` of them, a row each."""
        from transformers import DynamicCache

        rows, last = self.prompt_rows(width), width_step(width)
        options = {"logits_to_keep": last} if self._takes_logits_to_keep else {}

        def compute() -> list[PrefilledPrompt]:
            self.choose_attention(width)
            cache, ids = DynamicCache(), self._padded(batch, rows, width)
            logits = self.model(input_ids=ids, past_key_values=cache, use_cache=True, **options).logits[:, -last:]
            return [
                PrefilledPrompt(p, cache, row, logits[row, len(p) - 1 - width].float()) for row, p in enumerate(batch)
            ]

        found = self._if_memory_allows(compute, rows)
        if found is None:
            self._halve_rows(lambda: self.prompt_rows(width), rows)
            found = [p for part in chunked(batch, self.prompt_rows(width)) for p in self.prefill_batch(part, width)]
        return found

    @staticmethod
    def _if_memory_allows(compute: Callable[[], T], rows: int) -> T | None:
        """What it computes; None where memory is too small for so many rows. One row must fit."""
        try:
            return compute()
        except Exception as error:
            if rows == 1 or not is_out_of_memory(error):
                raise
        return None

    def _halve_rows(self, rows: Callable[[], int], before: int) -> None:
        """Compute fewer tokens in a call, so that there are fewer `rows` than before."""
        free_memory()
        while rows() >= before:
            self._batch_tokens //= 2
        if _SMALLER not in self.notes:
            self.notes.append(_SMALLER)

    def likelihoods(self, asked: Sequence[tuple[Tokens, Sequence[Tokens]]]) -> list[list[Likelihood]]:
        """How likely each text is after its prompt: for each (prompt, texts), a figure for each of its texts.

        A figure depends on its own prompt and text alone, however many are asked. Nothing of a text is computed that
        the prompt's scores tell already.
        """
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for i, (prompt, _) in enumerate(asked):
            groups[width_for(len(prompt))].append(i)
        found: dict[tuple[int, int], Likelihood] = {}
        for width, group in groups.items():
            group.sort(key=lambda i: max((len(tail) for tail in asked[i][1]), default=0))
            for part in chunked(group, _ROUND * self.prompt_rows(width)):
                found.update(self._round({i: asked[i] for i in part}, width))
        return [[found[i, n] for n in range(len(texts))] for i, (_, texts) in enumerate(asked)]

    def _round(
        self, asked: dict[int, tuple[Tokens, Sequence[Tokens]]], width: int
    ) -> dict[tuple[int, int], Likelihood]:
        """The texts of several batches of prompts, by question and text."""
        prefixes = {prefix.ids: prefix for prefix in self.prefill(prompt for prompt, _ in asked.values())}
        found: dict[tuple[int, int], Likelihood] = {}
        tails: defaultdict[int, list[Continuation]] = defaultdict(list)
        for i, (prompt, texts) in asked.items():
            for n, tokens in enumerate(texts):
                if len(tokens) > 1:
                    tails[width_for(len(tokens) - 1)].append(Continuation((i, n), prefixes[prompt], tokens))
                else:
                    found[i, n] = likelihood(prefixes[prompt].scores.unsqueeze(0), self.tensor(tokens))
        for columns, group in tails.items():
            for batch in chunked(group, self._continuation_rows(width, columns)):
                found.update(self._continuation_batch(batch, width, columns))
        return found

    def _continuation_rows(self, width: int, columns: int) -> int:
        return self.rows(max(width, columns), columns)

    def _continuation_batch(
        self, batch: Sequence[Continuation], width: int, columns: int
    ) -> dict[tuple[int, int], Likelihood]:
        """The texts of one width after prompts of one width."""
        rows = self._continuation_rows(width, columns)
        found = self._if_memory_allows(lambda: self._compute_continuations(batch, rows, width, columns), rows)
        if found is None:
            self._halve_rows(lambda: self._continuation_rows(width, columns), rows)
            parts = chunked(batch, self._continuation_rows(width, columns))
            found = {
                place: value
                for part in parts
                for place, value in self._continuation_batch(part, width, columns).items()
            }
        return found

    def _compute_continuations(
        self, batch: Sequence[Continuation], rows: int, width: int, columns: int
    ) -> dict[tuple[int, int], Likelihood]:
        import torch

        self.choose_attention(width + columns)
        lengths = self.tensor([len(tail.prefix.ids) for tail in batch] + [1] * (rows - len(batch)))
        out = self.model(
            input_ids=self._padded([tail.tokens[:-1] for tail in batch], rows, columns),
            attention_mask=self.mask(lengths, width, columns),
            position_ids=lengths.unsqueeze(1) + torch.arange(columns, device=self.device),
            past_key_values=_joined_cache([tail.prefix for tail in batch], rows),
            use_cache=True,
        )
        found = {}
        for row, tail in enumerate(batch):
            scores = torch.cat([tail.prefix.scores.unsqueeze(0), out.logits[row, : len(tail.tokens) - 1].float()])
            found[tail.position] = likelihood(scores, self.tensor(tail.tokens))
        return found

    def mask(self, lengths: torch.Tensor, width: int, columns: int) -> Any:
        """What is added to the attention scores, (rows, 1, columns, width + columns); one for each kind of layer.

        Token t of a row, at position length + t, sees the row's prompt, which fills the first columns of `width`, and
        the tokens up to itself behind them, within the layer's window.
        """
        import torch

        prompt = torch.arange(width, device=self.device).expand(len(lengths), width)
        behind = torch.arange(columns, device=self.device)
        own = lengths.unsqueeze(1) + behind
        # a column that nothing was written to stands after everything
        there = torch.cat([prompt.masked_fill(prompt >= lengths.unsqueeze(1), 1 << 40), own], dim=1)
        return self.additive_mask(own.unsqueeze(2), there.unsqueeze(1))

    def additive_mask(self, at: torch.Tensor, there: torch.Tensor) -> Any:
        """The mask for queries at positions `at` (rows, queries, 1) and columns at `there` (rows, 1, columns)."""
        masks = {kind: self._window_mask(at, there, window) for kind, window in self.attention_windows.items()}
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _window_mask(self, at: torch.Tensor, there: torch.Tensor, window: int | None) -> torch.Tensor:
        import torch

        hidden = there > at
        if window is not None:
            hidden |= there <= at - window
        dtype = self.model.dtype
        mask = torch.zeros(hidden.shape, dtype=dtype, device=self.device)
        return mask.masked_fill_(hidden, torch.finfo(dtype).min).unsqueeze(1)

    def single_likelihood(self, ids: Tokens, tail: Tokens) -> Likelihood:
        """A likelihood by a plain call, for models whose state cannot be continued row by row."""
        self.choose_attention(len(ids) + len(tail))
        logits = self.model(input_ids=self.tensor([[*ids, *tail]]), use_cache=False).logits[0].float()
        return likelihood(logits[len(ids) - 1 : -1], self.tensor(tail))

    def tensor(self, values: Any) -> torch.Tensor:
        """Whole numbers on the model's device."""
        import torch

        return torch.tensor(values, dtype=torch.long, device=self.device)

    def _padded(self, batch: Sequence[Tokens], rows: int, width: int) -> torch.Tensor:
        """Tokens on the left of each row, (rows, width)."""
        padded = [[*ids, *[0] * (width - len(ids))] for ids in batch]
        return self.tensor(padded + [[0] * width] * (rows - len(batch)))


def likelihood(scores: torch.Tensor, tail: torch.Tensor) -> Likelihood:
    """Sum the log-probabilities of tokens (time) under logits (time or more, vocabulary)."""
    scores = scores[: len(tail)]
    logprobs = scores.log_softmax(dim=-1).gather(1, tail.unsqueeze(1))
    greedy = bool((scores.argmax(dim=-1) == tail).all())
    return Likelihood(float(logprobs.sum()), len(tail), greedy)


def attention_windows(config: Any) -> dict[str, int | None]:
    """Kind of layer -> how many tokens back it sees, None for all. Raises ValueError for a kind without such a rule."""
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ["sliding_attention" if window else "full_attention"])
    strange = kinds - {"full_attention", "sliding_attention"}
    if strange:
        raise ValueError(f"layers of kind {', '.join(sorted(strange))}")
    return {kind: window if kind == "sliding_attention" else None for kind in sorted(kinds)}


def _joined_cache(prefixes: Sequence[PrefilledPrompt], rows: int) -> DynamicCache:
    """Keys and values of several prompts of one width, a row each; rows beyond them repeat the first."""
    import torch
    from transformers import DynamicCache

    cache = DynamicCache()
    each = [prefix.layers() for prefix in prefixes]
    each += [each[0]] * (rows - len(each))
    for number, layer in enumerate(zip(*each, strict=True)):
        keys, values = (torch.stack(part) for part in zip(*layer, strict=True))
        cache.update(keys, values, number)
    return cache


def chunked(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """The values in lists of this size, the last one shorter."""
    stream = iter(values)
    while part := list(islice(stream, size)):
        yield part
