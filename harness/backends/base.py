"""The base model and its trained checkpoints behind `--backend`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mipo_bench.harness.protocols import Arm, Generator
from mipo_bench.harness.training.pairs import PairSet, PromptSet


@dataclass(frozen=True, slots=True)
class TrainedCheckpoint:
    """A checkpoint ready to answer, with where it came from."""

    generator: Generator
    digest: str
    lineage: Mapping[str, Any]


class Backend(Protocol):
    """What the runner needs of models."""

    model_digest: str
    name: str
    """What answers, as the report names it."""
    notes: list[str]
    """What a reader of the report must know about how the models answered."""

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
        """The number format that responses are computed in."""
        ...

    def trained(self, arm: Arm, data: PairSet | PromptSet, on_step: Callable[[int, int], None]) -> TrainedCheckpoint:
        """The checkpoint for this arm's recipe and seed, trained unless the store has it."""
        ...

    def unload(self) -> None:
        """Give the memory of every model back; they load again when they are needed."""
        ...


class LocalGenerator(Protocol):
    """A generator whose model is in memory here once it has answered."""

    @property
    def folder(self) -> Path | None:
        """Where its model lies."""
        ...

    def unload(self) -> None:
        """Give the model's memory back."""
        ...
