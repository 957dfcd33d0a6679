"""The backend of Hugging Face models: the base model and trained checkpoints, in this process.

Checkpoints are kept in the store under a content key, so that a training with the same inputs runs once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipo_bench.harness.backends.base import LocalGenerator, TrainedCheckpoint
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.hashing import digest, model_digest
from mipo_bench.harness.core.provenance import package_versions
from mipo_bench.harness.generators.hf_generator import GENERATION_VERSION, HFGenerator, load_model
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.generators.tokenizer import load_tokenizer, missing_end_token
from mipo_bench.harness.inference.memory import free_memory
from mipo_bench.harness.planning.grid import recipe_name, settings_of
from mipo_bench.harness.protocols import Arm, Generator
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.training.job import LINEAGE, TRAINING_VERSION, UNUSED_SETTINGS, Training
from mipo_bench.harness.training.pairs import PairSet, PromptSet
from mipo_bench.harness.types import Objective

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def checkpoint_key(training: Training, environment: Sequence[str]) -> str:
    """The content key of a checkpoint. `environment` is device, dtype and library versions."""
    names = [training.task, training.recipe, training.seed, training.base_digest, training.data.digest]
    objective = training.data.objective
    settings = training.settings.model_dump_json(exclude={*UNUSED_SETTINGS[objective], "processes", "launch"})
    further = [*_objective_name(objective), *(["ends at", training.end_token] if training.end_token else [])]
    further += [*training.settings.spread, *(["autocast"] if training.autocast_on_cpu else [])]
    return digest(["checkpoint", TRAINING_VERSION, *names, settings, *further, *environment])


def _objective_name(objective: Objective) -> tuple[str, ...]:
    """The objective's part of the key. It is empty for DPO, so that keys from before other objectives stay valid."""
    return () if objective == "dpo" else (objective,)


def _notes(lineage: Mapping[str, Any], batch_size: int) -> Iterator[str]:
    """The notes for the report on one training."""
    if lineage.get("parts"):
        yield f"out of memory, so batches of {batch_size} were trained in {lineage['parts']} parts"
    if lineage.get("repeatable") is False:
        yield "training this model on a GPU gives slightly different weights each time"


class HFBackend:
    """Hugging Face models that generate and train with transformers. The store keeps the checkpoints."""

    name = "transformers"

    def __init__(self, config: RunConfig, folder: Path, placement: Placement, store: Store) -> None:
        """`folder` is the base model's folder (from `resolve_model`); `placement` comes from `resolve_placement`."""
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

    @cached_property
    def missing_end_token(self) -> str:
        """See `tokenizer.missing_end_token`."""
        return missing_end_token(load_tokenizer(self.folder, self.placement), self.folder, self.placement)

    def trained(self, arm: Arm, data: PairSet | PromptSet, on_step: Callable[[int, int], None]) -> TrainedCheckpoint:
        """See `Backend`."""
        training = self._training(arm, data)
        key = checkpoint_key(training, self._environment)
        found = self.store.checkpoints.get_or_write(key, lambda out: self._train(arm, training, out, on_step))
        lineage = json.loads((found.folder / LINEAGE).read_text(encoding="utf-8"))
        self.notes += [f"{arm.task} {arm.recipe}: {note}" for note in _notes(lineage, training.settings.batch_size)]
        return TrainedCheckpoint(self._generator(found.folder, found.digest), found.digest, lineage)

    def _train(self, arm: Arm, training: Training, out: Path, on_step: Callable[[int, int], None]) -> None:  # noqa: ARG002
        """Train into the folder `out`. A subclass may hand the arm to another machine."""
        from mipo_bench.harness.training.distributed.launch import train_in_processes
        from mipo_bench.harness.training.train import train

        if self.device.startswith("cuda"):
            self._unload(self.folder)
        if training.settings.processes > 1:
            train_in_processes(training, out, on_step)
            return
        train(
            training,
            out,
            on_step,
            remember=lambda parts, compute: self.store.remembered([*self._environment, *parts], compute),
        )

    @property
    def _environment(self) -> list[str]:
        """Device, dtype and library versions of a training."""
        libraries = [self.versions[name] for name in ("torch", "transformers", "trl", "peft")]
        return [*self.placement.numerics_key, *libraries]

    def _training(self, arm: Arm, data: PairSet | PromptSet) -> Training:
        return Training(
            base=self.folder,
            base_digest=self.model_digest,
            task=arm.task,
            recipe=recipe_name(str(arm.recipe)),
            seed=int(arm.train_seed or 0),
            data=data,
            settings=settings_of(str(arm.recipe), self.config),
            placement=self.placement,
            end_token=self.missing_end_token if data.objective == "grpo" else "",
        )

    def _generator(self, folder: Path, weights: str) -> Generator:
        key = self._generator_key(weights)
        generator = HFGenerator(folder, key, self.placement, load=self._load, remember=self.store.remembered)
        self._generators.append(generator)
        return generator

    def _generator_key(self, weights: str) -> str:
        libraries = [self.versions[name] for name in ("torch", "transformers", "tokenizers")]
        return digest([GENERATION_VERSION, weights, *self.placement.generation_key, *libraries])

    def _load(self, folder: Path, placement: Placement) -> PreTrainedModel:
        """Load a model. At most one checkpoint is in memory, besides the base model."""
        if folder != self.folder:
            self._unload()
        if placement.device.startswith("cuda"):
            free_memory()  # a failed training may have left GPU memory in use
        return load_model(folder, placement)

    def unload(self) -> None:
        """Free the memory of every model. A model is loaded again at its next use."""
        self._unload(self.folder)

    def _unload(self, *also: Path) -> None:
        """Free the memory of all checkpoints, and of the models in the folders `also`."""
        for generator in self._generators:
            if generator.folder != self.folder or generator.folder in also:
                generator.unload()
