"""Many responses at once on one model, each in a slot of its own.

The shape of a step is fixed (`forward` says why): it computes the same number of rows, over as many columns as the
request alone asks for, or as few as suffice where that leaves every bit as it is. Token t of a row always sits in
column t of its keys and values. What is idle is computed too, and thrown away.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from mipo_bench.harness.inference.forward import Forward, PrefilledPrompt

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

_STEPS = ((512, 64), (1024, 128), (4096, 256))
_COARSE_STEPS = ((1024, 256), (4096, 512))
"""Up to so many columns, they are a multiple of the second number; further up, of twice the last one.

A GPU takes coarse steps: there, a step costs little more with more columns, but slots of each width run by themselves.
"""
_COLUMN_STEP = 32
"""Elastic slots have a multiple of so many columns."""


def columns_for(tokens: int, *, coarse: bool = False) -> int:
    """Columns of a slot that must hold so many tokens: a function of the request alone, with few values."""
    steps = _COARSE_STEPS if coarse else _STEPS
    step = next((step for limit, step in steps if tokens <= limit), 2 * steps[-1][1])
    return -(-tokens // step) * step


def _layer_class() -> type[Any]:
    from transformers.cache_utils import CacheLayerMixin

    class SlotLayer(CacheLayerMixin):
        """Keys and values of one layer, (slots, heads, columns, width); each step writes one column of each slot."""

        is_sliding = False

        def __init__(self, slots: SlotBatch) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.slots = weakref.proxy(slots)  # a circle would keep the memory until some garbage is collected

        def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
            """Make room, shaped like a prompt's; zeros, because what is masked must still be a number."""
            self.keys, self.values = (
                x.new_zeros(self.slots.rows, x.shape[-3], self.slots.allocated_columns, x.shape[-1])
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
            rows, columns = self.slots.row_index.to(self.keys.device), self.slots.write_column.to(self.keys.device)
            self.keys[rows, :, columns] = key_states[:, :, 0]
            self.values[rows, :, columns] = value_states[:, :, 0]
            return self.keys, self.values

        def get_mask_sizes(self, query_length: int) -> tuple[int, int]:  # noqa: ARG002 - the interface's signature
            """Columns, and the first of them."""
            return self.slots.allocated_columns, 0

        def get_seq_length(self) -> int:
            """Unknown: each slot has its own."""
            return 0

        def get_max_length(self) -> int:
            """The most tokens that a slot holds."""
            columns: int = self.slots.columns
            return columns

    return SlotLayer


class SlotBatch:
    """A fixed number of slots with a fixed number of columns on one model.

    `resizable` slots hold hardly more columns than are in use, which saves much of the work. That is right where masked
    columns leave every bit as it is, which `Decoder` finds out. Of `cuda_graph` slots the first step is recorded on the
    GPU, and every step plays it: starting its hundreds of small computations from Python takes longer than they do.
    """

    def __init__(
        self, forward: Forward, rows: int, columns: int, *, resizable: bool = False, cuda_graph: bool = False
    ) -> None:
        """Nothing is allocated before the first prompt."""
        import torch
        from transformers.cache_utils import Cache

        self.forward, self.rows, self.columns, self.resizable = forward, rows, columns, resizable
        self.allocated_columns = min(columns, _COLUMN_STEP) if resizable else columns
        """Columns that are there now."""
        self.cuda_graph = cuda_graph
        self._captured: tuple[torch.cuda.CUDAGraph, torch.Tensor] | None = None
        self._tokens = forward.tensor([[0]] * rows)
        self.write_column = forward.tensor([0] * rows)
        """The column that each slot writes now."""
        self.row_index = torch.arange(rows, device=forward.device)
        self._column_index = torch.arange(columns, device=forward.device)
        config = forward.model.config.get_text_config()
        layer = _layer_class()
        self._layers = [layer(self) for _ in range(config.num_hidden_layers)]
        self._cache = Cache(layers=self._layers)

    def insert(self, row: int, prefix: PrefilledPrompt) -> None:
        """Copy a computed prompt into a slot."""
        length = len(prefix.ids)
        self._resize(max(length, self.allocated_columns))
        for mine, (keys, values) in zip(self._layers, prefix.layers(), strict=False):  # sharing layers have none
            if not mine.is_initialized:
                mine.lazy_initialization(keys, values)
            mine.keys[row, :, :length] = keys[:, :length]
            mine.values[row, :, :length] = values[:, :length]

    def step(self, tokens: Sequence[int], columns: Sequence[int]) -> torch.Tensor:
        """Append a token to each slot, at the given columns; the scores of the next ones, (slots, vocabulary)."""
        self._tokens.copy_(self.forward.tensor(tokens).unsqueeze(1))
        self.write_column.copy_(self.forward.tensor(columns))
        self._resize(max(columns) + 1)
        return self._step_by_cuda_graph() if self.cuda_graph else self._scores()

    def _scores(self) -> torch.Tensor:
        """Compute the step that `_tokens` and `write_column` ask for."""
        self.forward.choose_attention(None)
        out = self.forward.model(
            input_ids=self._tokens,
            attention_mask=self.forward.additive_mask(
                self.write_column[:, None, None], self._column_index[None, None, : self.allocated_columns]
            ),
            position_ids=self.write_column.unsqueeze(1),
            past_key_values=self._cache,
            use_cache=True,
        )
        scores: torch.Tensor = out.logits[:, -1].float()
        return scores

    def _step_by_cuda_graph(self) -> torch.Tensor:
        """The same from the recording, which is made at the first step.

        What a library sets up at its first call may not be recorded, so a step is computed before: it writes what the
        recorded one writes again.
        """
        import torch

        with torch.cuda.device(self.forward.device):
            if self._captured is None:
                stream = self.forward.capture_stream
                stream.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(stream):
                    self._scores()
                torch.cuda.current_stream().wait_stream(stream)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, stream=stream):
                    scores = self._scores()
                self._captured = graph, scores
            graph, scores = self._captured
            graph.replay()
            return scores.clone()

    def _resize(self, needed: int) -> None:
        """Make room for so many columns, and give back the rest."""
        wanted = min(self.columns, -(-needed // _COLUMN_STEP) * _COLUMN_STEP)
        if self.resizable and wanted != self.allocated_columns:
            self.allocated_columns = wanted
            for layer in self._layers:
                if layer.is_initialized:
                    layer.resize(wanted)
