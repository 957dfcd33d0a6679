"""The interface of a backend: the source of the base model and of its trained checkpoints.

`--backend` selects the implementation; see `select`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mipo_bench.harness.protocols import Arm, Generator
from mipo_bench.harness.training.pairs import PairSet, PromptSet


@dataclass(frozen=True, slots=True)
class TrainedCheckpoint:
    """A trained checkpoint, ready to generate. `lineage` records its training; `digest` is that of its weights."""

    generator: Generator
    digest: str
    lineage: Mapping[str, Any]


class Backend(Protocol):
    """The models of a run: the base model, and checkpoints trained from it."""

    model_digest: str
    name: str
    """The name of the engine in the report."""
    notes: list[str]
    """Notes for the report on the way the models generated."""

    @property
    def base(self) -> Generator:
        """The base model."""
        ...

    @property
    def device(self) -> str:
        """The device in use."""
        ...

    @property
    def dtype(self) -> str:
        """The dtype of generation, such as `bfloat16`."""
        ...

    def trained(self, arm: Arm, data: PairSet | PromptSet, on_step: Callable[[int, int], None]) -> TrainedCheckpoint:
        """The checkpoint for this arm's recipe and seed, trained unless the store has it."""
        ...

    def unload(self) -> None:
        """Free the memory of every model. A model is loaded again at its next use."""
        ...


class LocalGenerator(Protocol):
    """A generator whose model is loaded in this process at its first use."""

    @property
    def folder(self) -> Path | None:
        """The folder of its model."""
        ...

    def unload(self) -> None:
        """Free the model's memory."""
        ...
