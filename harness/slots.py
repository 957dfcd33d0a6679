"""Many responses at once on one model, each in a slot of its own.

Rounding depends on the shape of a computation: a prompt padded to its neighbours, or a batch that shrinks, changes the
last bits of a row, and now and then a near tie. So every shape here is fixed. Prompts are computed one at a time, and
each step computes the same number of rows, over as many columns as the request alone asks for, or as few as suffice
where that leaves every bit as it is. Token t of a row always sits in column t of its keys and values. What is idle is
computed too, and thrown away.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mipo_bench.harness.types import Likelihood

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from transformers import DynamicCache

_STEPS = ((512, 64), (1024, 128), (4096, 256))
"""Up to so many columns, they are a multiple of the second number; further up, of the last one."""
_REACH = 32
"""Elastic slots have a multiple of so many columns."""
_SLACK = 64
"""Columns that may be too many before memory is moved."""
_SHORT = 256
"""Tokens up to which plain attention takes no more time or memory than the fused one."""


def columns_for(tokens: int) -> int:
    """Columns of a slot that must hold so many tokens: a function of the request alone, with few values."""
    step = next((step for limit, step in _STEPS if tokens <= limit), 2 * _STEPS[-1][1])
    return -(-tokens // step) * step


@dataclass(frozen=True, slots=True)
class Prefix:
    """A computed prompt: its tokens, its keys and values, and the scores of the token that follows (vocabulary)."""

    ids: tuple[int, ...]
    cache: DynamicCache
    scores: torch.Tensor


class Forward:
    """A causal language model of transformers, called for prompts and for continuations of them."""

    def __init__(self, model: Any) -> None:
        """`model` is in evaluation mode."""
        self.model = model
        self.device = model.device
        last_only = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._last: dict[str, Any] = {"logits_to_keep": 1} if last_only else {}
        self._recent: Prefix | None = None
        self._attention = self._attending = getattr(model.config, "_attn_implementation", None)

    def attend(self, columns: int | None) -> None:
        """Choose how attention to so many columns is computed; None for a step of one token.

        On a CPU, short prompts and steps take transformers' plain attention in place of torch's fused one. It is faster
        there, and rounds all rows alike: the fused one gives each thread a buffer of another alignment. It would need
        far more memory for long prompts.
        """
        if self.device.type == "cpu" and self._attention == "sdpa":
            wanted = "eager" if columns is None or columns <= _SHORT else "sdpa"
            if wanted != self._attending:
                self.model.set_attn_implementation(wanted)
                self._attending = wanted

    def prefix(self, ids: Sequence[int]) -> Prefix:
        """Compute a prompt by itself; the one computed last is remembered."""
        from transformers import DynamicCache

        if self._recent is None or self._recent.ids != tuple(ids):
            self._recent = None  # frees its memory first
            self.attend(len(ids))
            cache = DynamicCache()
            out = self.model(input_ids=self.tensor([ids]), past_key_values=cache, use_cache=True, **self._last)
            self._recent = Prefix(tuple(ids), cache, out.logits[0, -1].float())
        return self._recent

    def likelihood(self, prefix: Prefix, tail: Sequence[int]) -> Likelihood:
        """How likely the tokens `tail` are after the prompt."""
        import torch

        if not tail:
            return Likelihood(0.0, 0, greedy=True)
        scores = prefix.scores.unsqueeze(0)
        if len(tail) > 1:
            self.attend(len(prefix.ids) + len(tail))
            ids = self.tensor([tail[:-1]])
            out = self.model(input_ids=ids, past_key_values=prefix.cache, use_cache=True)
            prefix.cache.crop(1 - len(tail))
            scores = torch.cat([scores, out.logits[0].float()])
        return likelihood(scores, self.tensor(tail))

    def alone(self, ids: Sequence[int], tail: Sequence[int]) -> Likelihood:
        """The same without keeping keys and values, for models whose state cannot be cut back."""
        if not tail:
            return Likelihood(0.0, 0, greedy=True)
        self.attend(len(ids) + len(tail))
        logits = self.model(input_ids=self.tensor([[*ids, *tail]]), use_cache=False).logits[0].float()
        return likelihood(logits[len(ids) - 1 : -1], self.tensor(tail))

    def tensor(self, values: Any) -> torch.Tensor:
        """Whole numbers on the model's device."""
        import torch

        return torch.tensor(values, dtype=torch.long, device=self.device)


def likelihood(scores: torch.Tensor, tail: torch.Tensor) -> Likelihood:
    """Sum the log-probabilities of tokens (time) under logits (time, vocabulary)."""
    logprobs = scores.log_softmax(dim=-1).gather(1, tail.unsqueeze(1))
    greedy = bool((scores.argmax(dim=-1) == tail).all())
    return Likelihood(float(logprobs.sum()), len(tail), greedy)


def _layer_class() -> type[Any]:
    from transformers.cache_utils import CacheLayerMixin

    class SlotLayer(CacheLayerMixin):
        """Keys and values of one layer, (slots, heads, columns, width); each step writes one column of each slot."""

        is_sliding = False

        def __init__(self, slots: Slots) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.slots = slots

        def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
            """Make room, shaped like the given states; zeros, because what is masked must still be a number."""
            self.keys, self.values = (
                x.new_zeros(self.slots.rows, x.shape[1], self.slots.reach, x.shape[3])
                for x in (key_states, value_states)
            )
            self.is_initialized = True

        def resize(self, columns: int) -> None:
            """Keep the first so many columns, or add empty ones: a whole block of memory is read much faster."""
            assert self.keys is not None and self.values is not None  # noqa: PT018 - as below
            kept = min(columns, self.keys.shape[2])
            for name, old in (("keys", self.keys), ("values", self.values)):
                new = old.new_zeros(*old.shape[:2], columns, old.shape[3])
                new[:, :, :kept] = old[:, :, :kept]
                setattr(self, name, new)

        def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> Any:
            """Write one token of each slot into its own column; all keys and values come back."""
            assert self.keys is not None and self.values is not None  # noqa: PT018 - filled by the first prompt
            every, at = self.slots.every.to(self.keys.device), self.slots.at.to(self.keys.device)
            self.keys[every, :, at] = key_states[:, :, 0]
            self.values[every, :, at] = value_states[:, :, 0]
            return self.keys, self.values

        def get_mask_sizes(self, query_length: int) -> tuple[int, int]:  # noqa: ARG002 - the interface's signature
            """Columns, and the first of them."""
            return self.slots.reach, 0

        def get_seq_length(self) -> int:
            """Unknown: each slot has its own."""
            return 0

        def get_max_length(self) -> int:
            """The most tokens that a slot holds."""
            return self.slots.columns

    return SlotLayer


class Slots:
    """A fixed number of slots with a fixed number of columns on one model.

    `elastic` slots hold hardly more columns than are in use, which saves much of the work. That is right where masked
    columns leave every bit as it is, which `Decoder` finds out.
    """

    def __init__(self, forward: Forward, rows: int, columns: int, *, elastic: bool = False) -> None:
        """Nothing is allocated before the first prompt."""
        import torch
        from transformers.cache_utils import Cache

        self.forward, self.rows, self.columns, self.elastic = forward, rows, columns, elastic
        self.reach = min(columns, _REACH) if elastic else columns
        """Columns that are there now."""
        self.at = forward.tensor([0] * rows)
        """The column that each slot writes now."""
        self.every = torch.arange(rows, device=forward.device)
        self._numbers = torch.arange(columns, device=forward.device)
        config = forward.model.config.get_text_config()
        layer = _layer_class()
        self._layers = [layer(self) for _ in range(config.num_hidden_layers)]
        self._cache = Cache(layers=self._layers)
        self._windows = windows(config)

    def admit(self, row: int, prefix: Prefix) -> None:
        """Copy a computed prompt into a slot."""
        length = len(prefix.ids)
        self._stretch(max(length, self.reach))
        layers: list[Any] = prefix.cache.layers
        for mine, computed in zip(self._layers, layers, strict=False):  # layers that share another's have none
            if not mine.is_initialized:
                mine.lazy_initialization(computed.keys, computed.values)
            mine.keys[row, :, :length] = computed.keys[0]
            mine.values[row, :, :length] = computed.values[0]

    def step(self, tokens: Sequence[int], columns: Sequence[int]) -> torch.Tensor:
        """Append a token to each slot, at the given columns; the scores of the next ones, (slots, vocabulary)."""
        self.at = self.forward.tensor(columns)
        self._stretch(max(columns) + 1)
        self.forward.attend(None)
        out = self.forward.model(
            input_ids=self.forward.tensor(tokens).unsqueeze(1),
            attention_mask=self._mask(),
            position_ids=self.at.unsqueeze(1),
            past_key_values=self._cache,
            use_cache=True,
        )
        scores: torch.Tensor = out.logits[:, -1].float()
        return scores

    def _stretch(self, needed: int) -> None:
        """Make room for so many columns, and give back what is far more."""
        wanted = min(self.columns, -(-needed // _REACH) * _REACH)
        if self.elastic and not self.reach - _SLACK < wanted <= self.reach:
            self.reach = wanted
            for layer in self._layers:
                if layer.is_initialized:
                    layer.resize(wanted)

    def _mask(self) -> Any:
        """What is added to the attention scores, (slots, 1, 1, columns); one for each kind of layer if several."""
        masks = {kind: self._additive(window) for kind, window in self._windows.items()}
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _additive(self, window: int | None) -> torch.Tensor:
        import torch

        at, numbers = self.at.unsqueeze(1), self._numbers[: self.reach]
        hidden = numbers > at
        if window is not None:
            hidden |= numbers <= at - window
        dtype = self.forward.model.dtype
        mask = torch.zeros(hidden.shape, dtype=dtype, device=self.forward.device)
        return mask.masked_fill_(hidden, torch.finfo(dtype).min)[:, None, None]


def windows(config: Any) -> dict[str, int | None]:
    """Kind of layer -> how many tokens back it sees, None for all. Raises ValueError for a kind without such a rule."""
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ["sliding_attention" if window else "full_attention"])
    strange = kinds - {"full_attention", "sliding_attention"}
    if strange:
        raise ValueError(f"layers of kind {', '.join(sorted(strange))}")
    return {kind: window if kind == "sliding_attention" else None for kind in sorted(kinds)}
