"""Many responses at once on one model, each in a slot: a row of a KV cache with a fixed number of columns.

The shape of a decoding step is fixed (`forward` says why): it computes the same number of rows, over as many columns as
the request alone asks for, or as few of both as suffice where that leaves every bit as it is. Token t of a row always
sits in column t of its keys and values; idle slots that are computed are ignored. `SlotBatch.insert` takes a prefilled
prompt, `SlotBatch.step` appends a token to the first slots.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers.cache_utils import Cache

from mipo_bench.harness.inference.forward import Forward, PrefilledPrompt
from mipo_bench.harness.inference.layers.slot_layer import SlotLayer, SlotTable

_COLUMN_STEP = 32
"""Resizable slots have a multiple of so many columns."""


class SlotBatch:
    """A fixed number of slots with a fixed number of columns on one model.

    `resizable` slots allocate hardly more columns than are in use, which saves much of the work. That is right where
    masked columns leave every bit as it is, which `probe` finds out, as it does for the `row_counts`: numbers of slots
    that may be computed alone. With `cuda_graph` the first step is captured as a
    CUDA graph, and every step replays it: launching hundreds of small kernels from Python takes longer than they do.
    """

    def __init__(
        self,
        forward: Forward,
        rows: int,
        columns: int,
        *,
        resizable: bool = False,
        row_counts: Sequence[int] = (),
        cuda_graph: bool = False,
    ) -> None:
        """Nothing is allocated before the first prompt."""
        self.row_counts = sorted({*row_counts, rows})
        self.forward, self.rows = forward, rows
        self.resizable, self.cuda_graph = resizable, cuda_graph
        self._table = SlotTable(
            rows,
            columns,
            min(columns, _COLUMN_STEP) if resizable else columns,
            row_index=torch.arange(rows, device=forward.device),
            write_column=forward.tensor([0] * rows),
        )
        self._graph: tuple[torch.cuda.CUDAGraph, torch.Tensor] | None = None
        self._tokens = forward.tensor([[0]] * rows)
        self._positions = torch.arange(columns, device=forward.device)
        layers = forward.model.config.get_text_config().num_hidden_layers
        self._layers = [SlotLayer(self._table) for _ in range(layers)]
        self._cache = Cache(layers=list(self._layers))

    def insert(self, rows: Sequence[int], prompts: Sequence[PrefilledPrompt]) -> None:
        """Copy prefilled prompts into slots."""
        longest = max(len(prompt.ids) for prompt in prompts)
        self._resize(max(longest, self._table.allocated_columns))
        slots, stacked = self.forward.tensor(rows), self.forward.stacked(prompts, longest)
        for layer, (keys, values) in zip(self._layers, stacked, strict=False):  # layers that share have none
            if not layer.is_initialized:
                layer.lazy_initialization(keys, values)
            layer.put(slots, keys, values)

    def move(self, source: int, target: int) -> None:
        """Copy what one slot holds to another."""
        for layer in self._layers:
            if layer.is_initialized:
                layer.move(source, target)

    def count_for(self, used: int) -> int:
        """Slots that a step computes where the first so many are used."""
        return next(count for count in self.row_counts if count >= used)

    def step(self, tokens: Sequence[int], columns: Sequence[int]) -> torch.Tensor:
        """Append a token to each of the first slots, at the given columns, for one of the `row_counts`.

        Returns the logits of the next ones, (slots, vocabulary).
        """
        self._tokens[: len(tokens)].copy_(self.forward.tensor(tokens).unsqueeze(1))
        self._table.write_column[: len(tokens)].copy_(self.forward.tensor(columns))
        self._resize(max(columns) + 1)
        return self._step_by_cuda_graph() if self.cuda_graph else self._step(len(tokens))

    def _step(self, count: int) -> torch.Tensor:
        """Compute the step that `_tokens` and the table ask for, of the first so many slots."""
        self.forward.choose_attention(None)
        written, positions = self._table.write_column[:count], self._positions[: self._table.allocated_columns]
        out = self.forward.model(
            input_ids=self._tokens[:count],
            attention_mask=self.forward.masks.additive(written[:, None, None], positions[None, None]),
            position_ids=written.unsqueeze(1),
            past_key_values=self._cache,
            use_cache=True,
        )
        logits: torch.Tensor = out.logits[:, -1].float()
        return logits

    def _step_by_cuda_graph(self) -> torch.Tensor:
        """The same by the CUDA graph, which is captured at the first step."""
        with torch.cuda.device(self.forward.device):
            if self._graph is None:
                self._graph = self._captured()
            graph, logits = self._graph
            graph.replay()
            return logits.clone()

    def _captured(self) -> tuple[torch.cuda.CUDAGraph, torch.Tensor]:
        """A CUDA graph of a step, and the logits that it writes.

        A step is computed before: libraries set up things at their first call that must not be captured. The replay
        writes the same again.
        """
        stream = self.forward.capture_stream
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._step(self.rows)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            logits = self._step(self.rows)
        return graph, logits

    def _resize(self, needed: int) -> None:
        """Allocate so many columns, rounded up, and free the rest."""
        wanted = min(self._table.columns, -(-needed // _COLUMN_STEP) * _COLUMN_STEP)
        if self.resizable and wanted != self._table.allocated_columns:
            self._table.allocated_columns = wanted
            for layer in self._layers:
                if layer.is_initialized:
                    layer.resize(wanted)
