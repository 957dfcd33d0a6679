"""Many responses at once on one model, each in a slot of its own.

The shape of a step is fixed (`forward` says why): it computes the same number of rows, over as many columns as the
request alone asks for, or as few as suffice where that leaves every bit as it is. Token t of a row always sits in
column t of its keys and values. What is idle is computed too, and thrown away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mipo_bench.harness.forward import Forward, Prefix

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

_STEPS = ((512, 64), (1024, 128), (4096, 256))
"""Up to so many columns, they are a multiple of the second number; further up, of the last one."""
_REACH = 32
"""Elastic slots have a multiple of so many columns."""


def columns_for(tokens: int) -> int:
    """Columns of a slot that must hold so many tokens: a function of the request alone, with few values."""
    step = next((step for limit, step in _STEPS if tokens <= limit), 2 * _STEPS[-1][1])
    return -(-tokens // step) * step


def _layer_class() -> type[Any]:
    from transformers.cache_utils import CacheLayerMixin

    class SlotLayer(CacheLayerMixin):
        """Keys and values of one layer, (slots, heads, columns, width); each step writes one column of each slot."""

        is_sliding = False

        def __init__(self, slots: Slots) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.slots = slots

        def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
            """Make room, shaped like a prompt's; zeros, because what is masked must still be a number."""
            self.keys, self.values = (
                x.new_zeros(self.slots.rows, x.shape[-3], self.slots.reach, x.shape[-1])
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

    def admit(self, row: int, prefix: Prefix) -> None:
        """Copy a computed prompt into a slot."""
        length = len(prefix.ids)
        self._stretch(max(length, self.reach))
        for mine, (keys, values) in zip(self._layers, prefix.layers(), strict=False):  # sharing layers have none
            if not mine.is_initialized:
                mine.lazy_initialization(keys, values)
            mine.keys[row, :, :length] = keys[:, :length]
            mine.values[row, :, :length] = values[:, :length]

    def step(self, tokens: Sequence[int], columns: Sequence[int]) -> torch.Tensor:
        """Append a token to each slot, at the given columns; the scores of the next ones, (slots, vocabulary)."""
        self.at = self.forward.tensor(columns)
        self._stretch(max(columns) + 1)
        self.forward.attend(None)
        out = self.forward.model(
            input_ids=self.forward.tensor(tokens).unsqueeze(1),
            attention_mask=self.forward.additive(self.at[:, None, None], self._numbers[None, None, : self.reach]),
            position_ids=self.at.unsqueeze(1),
            past_key_values=self._cache,
            use_cache=True,
        )
        scores: torch.Tensor = out.logits[:, -1].float()
        return scores

    def _stretch(self, needed: int) -> None:
        """Make room for so many columns, and give back the rest."""
        wanted = min(self.columns, -(-needed // _REACH) * _REACH)
        if self.elastic and wanted != self.reach:
            self.reach = wanted
            for layer in self._layers:
                if layer.is_initialized:
                    layer.resize(wanted)
