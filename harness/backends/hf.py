"""Models for the runner: the base model, trainings that the store remembers, and the checkpoints they make."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mipo_bench.harness.backends.base import LocalGenerator, TrainedCheckpoint
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.hashing import digest, model_digest
from mipo_bench.harness.core.provenance import package_versions
from mipo_bench.harness.generators.hf_generator import GENERATION_VERSION, HFGenerator, load_model
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.inference.memory import free_memory
from mipo_bench.harness.planning.grid import recipe_name, settings_of
from mipo_bench.harness.protocols import Arm, Generator
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.training import train
from mipo_bench.harness.training.job import NOT_READ, Training
from mipo_bench.harness.training.pairs import PairSet, PromptSet
from mipo_bench.harness.types import Objective

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def checkpoint_key(training: Training, circumstances: Sequence[str]) -> str:
    """The content key of a checkpoint; `circumstances` are device, number format and library versions."""
    names = [training.task, training.recipe, training.seed, training.base_digest, training.data.digest]
    objective = training.data.objective
    settings = training.settings.model_dump_json(exclude=NOT_READ[objective])
    return digest(["checkpoint", train.TRAINING_VERSION, *names, settings, *_marked(objective), *circumstances])


def _marked(objective: Objective) -> tuple[str, ...]:
    """DPO goes unmarked, as it did when there was no other objective: its checkpoints stay valid."""
    return () if objective == "dpo" else (objective,)


class HFBackend:
    """Hugging Face models; checkpoints live in the store."""

    name = "transformers"

    def __init__(self, config: RunConfig, folder: Path, placement: Placement, store: Store) -> None:
        """`folder` is the base model's (`resolve_model`), `placement` comes from `resolve_placement`."""
        self.config, self.folder, self.placement, self.store = config, folder, placement, store
        self.model_digest = model_digest(folder)
        self.device, self.dtype = placement.device, placement.dtype
        self.versions = package_versions()
        self.notes: list[str] = []
        self._generators: list[LocalGenerator] = []

    @cached_property
    def base(self) -> Generator:
        """The base model."""
        return self._generator(self.folder, self.model_digest)

    def trained(self, arm: Arm, data: PairSet | PromptSet, on_step: Callable[[int, int], None]) -> TrainedCheckpoint:
        """See `Backend`."""
        training = Training(
            base=self.folder,
            base_digest=self.model_digest,
            task=arm.task,
            recipe=recipe_name(str(arm.recipe)),
            seed=int(arm.train_seed or 0),
            data=data,
            settings=settings_of(str(arm.recipe), self.config),
            placement=self.placement,
        )
        libraries = [self.versions[name] for name in ("torch", "transformers", "trl", "peft")]
        key = checkpoint_key(training, [*self.placement.numerics_key, *libraries])

        def make(folder: Path) -> None:
            if self.device.startswith("cuda"):
                self._unload(self.folder)
            train.train(training, folder, on_step)

        found = self.store.checkpoints.get_or_write(key, make)
        lineage = json.loads((found.folder / train.LINEAGE).read_text(encoding="utf-8"))
        if lineage.get("parts"):
            batch, parts = training.settings.batch_size, lineage["parts"]
            self.notes.append(
                f"{arm.task} {arm.recipe}: out of memory, so batches of {batch} were trained on in {parts} parts"
            )
        if lineage.get("repeatable") is False:
            self.notes.append(
                f"{arm.task} {arm.recipe}: this model's training on a GPU gives slightly other weights each time"
            )
        return TrainedCheckpoint(self._generator(found.folder, found.digest), found.digest, lineage)

    def _generator(self, folder: Path, weights: str) -> Generator:
        libraries = [self.versions[name] for name in ("torch", "transformers", "tokenizers")]
        name = digest([GENERATION_VERSION, weights, *self.placement.generation_key, *libraries])
        generator = HFGenerator(folder, name, self.placement, load=self._load)
        self._generators.append(generator)
        return generator

    def _load(self, folder: Path, placement: Placement) -> PreTrainedModel:
        """Load a model. Of all checkpoints only the one in use is in memory, beside the base model."""
        if folder != self.folder:
            self._unload()
        if placement.device.startswith("cuda"):
            free_memory()  # what a failed training has left
        return load_model(folder, placement)

    def unload(self) -> None:
        """Give the memory of every model back; they load again when they are needed."""
        self._unload(self.folder)

    def _unload(self, *also: Path) -> None:
        for generator in self._generators:
            if generator.folder != self.folder or generator.folder in also:
                generator.unload()
