"""A host: it holds the model of a run, answers, measures likelihoods and trains. It knows nothing of the cluster."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from mipo_bench.harness.backends.hf import HFBackend
from mipo_bench.harness.cluster.wire import (
    Answers,
    Facts,
    Failed,
    Part,
    Trained,
    Unknown,
    pieces_of,
    put_piece,
    shared,
)
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.hashing import folder_digest, model_digest
from mipo_bench.harness.core.provenance import hardware
from mipo_bench.harness.errors import StorageError
from mipo_bench.harness.evaluation.failures import recorded
from mipo_bench.harness.generators.hf_generator import HFGenerator
from mipo_bench.harness.generators.model_folder import parameters, resolve_model
from mipo_bench.harness.generators.placement import resolve_placement
from mipo_bench.harness.protocols import Arm, Generator, Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.store.claims import live_owners
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.training.distributed.check import check_training
from mipo_bench.harness.training.memory import visible_devices
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.types import Response

T = TypeVar("T")
KEPT = 2
"""Checkpoints that a host keeps on its disk. A checkpoint answers right after its training, on the host that has it."""
_YOUNG = 60.0
"""Age in seconds below which the folder of a host that seems dead is left alone: that host may be starting."""


class Host:
    """One model on one machine, with its checkpoints in a scratch folder. Its methods return errors as `Failed`."""

    def __init__(self, config: RunConfig, scratch: Path) -> None:
        """`scratch` is empty. Raises ModelError where the model cannot be used on this machine."""
        folder, placement = resolve_model(config.model, scratch), resolve_placement(config)
        check_training(parameters(folder), config, visible_devices(placement.device))
        self._shared = config.cluster.checkpoints
        self._store = Store(scratch)
        self._store.claims.join()  # the folder of a host that is dead may be removed
        self._backend = _HostBackend(config, folder, placement, self._store)
        self._models: dict[str, HFGenerator] = {}
        """Digest of the weights -> the model, the latest at the end; the base model is not among them."""
        self.facts = Facts(self._backend.model_digest, placement, hardware(placement.device))

    def answer(self, weights: str, requests: Sequence[Request]) -> Answers[Response] | Failed | Unknown:
        """The responses of the model with these weights."""
        return self._with_model(weights, lambda model: list(model.generate(requests)))

    def likelihoods(
        self, weights: str, asked: Sequence[LikelihoodRequest]
    ) -> Answers[tuple[Likelihood, ...]] | Failed | Unknown:
        """The likelihoods under the model with these weights."""
        return self._with_model(weights, lambda model: list(model.likelihoods(asked)))

    def train(self, arm: Arm, data: PairSet) -> Iterator[Part | Trained | Failed]:
        """Train the checkpoint of an arm, and yield the files of its folder, or links to them in the shared folder.

        The last record is Trained or Failed.
        """
        errors: list[Failed] = []
        steps = [0]
        with _recorded_in(errors):
            trained = self._backend.trained(arm, data, lambda _, total: steps.append(total))
            folder = self._keep(trained.generator, trained.digest)
            content = folder_digest(folder)
            yield from pieces_of(folder) if self._shared is None else shared(folder, self._shared, content)
            yield Trained(content, trained.digest, steps[-1])
        yield from errors

    def take(self, weights: str, piece: Part | None) -> Failed | None:
        """Write a piece of a checkpoint that another host has trained; None ends it."""
        errors: list[Failed] = []
        with _recorded_in(errors):
            folder = self._store.checkpoints.folder / weights
            if piece is not None:
                put_piece(folder, piece)
                return None
            if (found := model_digest(folder)) != weights:
                shutil.rmtree(folder)
                raise StorageError(f"a checkpoint came damaged to a host: its digest is {found[:12]}.")
            self._keep(self._backend.model_in(folder, weights), weights)
        return errors[0] if errors else None

    def close(self) -> None:
        """Remove the scratch folder."""
        self._store.close()
        shutil.rmtree(self._store.folder, ignore_errors=True)

    def _with_model(
        self, weights: str, ask: Callable[[Generator], list[tuple[int, T]]]
    ) -> Answers[T] | Failed | Unknown:
        model = self._backend.base if weights == self.facts.model_digest else self._models.get(weights)
        if model is None:
            return Unknown()
        errors: list[Failed] = []
        with _recorded_in(errors):
            return Answers(ask(model), list(model.notes))
        return errors[0]

    def _keep(self, model: Generator, weights: str) -> Path:
        """Keep a checkpoint and drop the oldest ones; returns its folder."""
        assert isinstance(model, HFGenerator)
        same = self._models.pop(weights, None)
        self._models[weights] = model
        oldest = [self._models.pop(name) for name in list(self._models)[:-KEPT]]
        for dropped in (*oldest, *([same] if same else [])):
            self._backend.forget(dropped)
            if dropped.folder != model.folder:
                self._store.checkpoints.drop(dropped.folder.name)
        return model.folder


class _HostBackend(HFBackend):
    """The models of a host."""

    def model_in(self, folder: Path, weights: str) -> Generator:
        """The model in a folder, which has the digest `weights`."""
        return self._generator(folder, weights)

    def forget(self, model: HFGenerator) -> None:
        """Unload a model whose folder goes."""
        model.unload()
        self._generators.remove(model)


def _recorded_in(errors: list[Failed]) -> AbstractContextManager[None]:
    """Record an error of the block, of whatever kind. Ctrl-C belongs to the driver, which ends its hosts."""
    return recorded(lambda error: errors.append(Failed.of(error)), passing=(GeneratorExit,))


def scratch_folder(root: Path) -> Path:
    """A new folder for a host under `root`. Removes the folders that dead hosts have left there."""
    root.mkdir(parents=True, exist_ok=True)
    for folder in root.iterdir():
        if _is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=root))


def _is_left(folder: Path) -> bool:
    """Whether a dead host has left this folder."""
    try:
        return time.time() - folder.stat().st_mtime > _YOUNG and not live_owners(folder)
    except FileNotFoundError:  # another host removes it at this moment
        return False
