"""One layer of the KV cache of a batch of slots, in the form that transformers' attention layers call.

Every step writes one column of each slot; the column is in `SlotTable`, which all layers of a batch share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import CacheLayerMixin


@dataclass(slots=True)
class SlotTable:
    """The shape of a batch of slots, and where each of them writes next."""

    rows: int
    columns: int
    """The most tokens that a slot holds."""
    allocated_columns: int
    """Columns that are in memory now."""
    row_index: torch.Tensor
    """The number of each slot, (rows)."""
    write_column: torch.Tensor
    """The column that each slot writes now, (rows)."""


class SlotLayer(CacheLayerMixin):
    """Keys and values of one layer, (slots, heads, columns, head size)."""

    is_sliding = False

    def __init__(self, table: SlotTable) -> None:
        """Nothing is allocated before the first prompt."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.table = table

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate the slots for keys and values like these; zeros, because masked columns must still be numbers."""
        self.keys, self.values = (
            x.new_zeros(self.table.rows, x.shape[-3], self.table.allocated_columns, x.shape[-1])
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
        """Write one token of each of the first slots into its own column; their keys and values come back."""
        assert self.keys is not None and self.values is not None  # noqa: PT018 - allocated by the first prompt
        count, device = len(key_states), self.keys.device
        rows, columns = self.table.row_index[:count].to(device), self.table.write_column[:count].to(device)
        self.keys[rows, :, columns] = key_states[:, :, 0]
        self.values[rows, :, columns] = value_states[:, :, 0]
        return self.keys[:count], self.values[:count]

    def put(self, slots: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Write the first columns of some slots, (slots, heads, columns, head size)."""
        assert self.keys is not None and self.values is not None  # noqa: PT018 - as above
        at, columns = slots.to(keys.device), keys.shape[2]
        self.keys[:, :, :columns].index_copy_(0, at, keys)
        self.values[:, :, :columns].index_copy_(0, at, values)

    def move(self, source: int, target: int) -> None:
        """Copy the keys and values of one slot to another."""
        assert self.keys is not None and self.values is not None  # noqa: PT018 - as above
        self.keys[target], self.values[target] = self.keys[source], self.values[source]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:  # noqa: ARG002 - the interface's signature
        """Columns, and the first of them."""
        return self.table.allocated_columns, 0

    def get_seq_length(self) -> int:
        """Unknown: each slot has its own."""
        return 0

    def get_max_length(self) -> int:
        """The most tokens that a slot holds."""
        return self.table.columns
