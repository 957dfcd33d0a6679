"""The backend of a run on a cluster: prompts are rendered here, and hosts answer, measure and train."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

from mipo_bench.harness.backends.hf import HFBackend
from mipo_bench.harness.cluster.pool import HostLostError, Pool, RemoteHost
from mipo_bench.harness.cluster.wire import Answers, Failed, Part, Trained, Unknown, pieces_of, put_piece
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.hashing import digest, folder_digest
from mipo_bench.harness.errors import ClusterError, StageError
from mipo_bench.harness.generators.hf_generator import HFGenerator
from mipo_bench.harness.generators.model_folder import resolve_model
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.protocols import Arm, Generator, Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.training.job import Training
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.types import Response

Q = TypeVar("Q", Request, LikelihoodRequest)
A = TypeVar("A")
Reply = Answers[A] | Failed | Unknown
_LARGEST = 256
"""Most requests in one message: so many answers are lost with their host."""


class RemoteGenerator(HFGenerator):
    """A model whose prompts are rendered here and answered by hosts. All hosts share the requests to the base model.

    A checkpoint answers on one host at a time, so that its weights are seldom sent.
    """

    def __init__(self, folder: Path, key: str, placement: Placement, weights: str, pool: Pool) -> None:
        """`weights` is the digest of the weights in `folder`; for the others see `HFGenerator` and `Pool`."""
        super().__init__(folder, key, placement)
        self._weights, self._pool = weights, pool

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generator`."""
        return self._spread(requests, "responses", lambda host, part: host.answer(self._weights, part))

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """See `Generator`."""
        return self._spread(asked, "likelihoods", lambda host, part: host.likelihoods(self._weights, part))

    def _spread(
        self, asked: Sequence[Q], unit: str, ask: Callable[[RemoteHost, Sequence[Q]], Reply[A]]
    ) -> Iterator[tuple[int, A]]:
        """Ask in parts: those to the base model on all hosts at once, those to a checkpoint one after the other."""
        size = _part_size(len(asked), self._pool.size)
        parts = {start: asked[start : start + size] for start in range(0, len(asked), size)}

        def one(start: int) -> tuple[int, Answers[A]]:
            part: Sequence[Q] = parts[start]
            name = f"{len(part)} {unit} ({digest([self._weights, *part])[:8]})"

            def work(host: RemoteHost) -> Answers[A]:
                return self._ask(host, lambda: ask(host, part))

            return start, self._pool.call(name, self._weights, work)

        for start, answers in _at_once(one, parts) if self._is_base else map(one, parts):
            self.notes += [note for note in answers.notes if note not in self.notes]
            yield from ((start + position, answer) for position, answer in answers.rows)

    @property
    def _is_base(self) -> bool:
        facts = self._pool.facts
        return facts is not None and self._weights == facts.model_digest

    def _ask(self, host: RemoteHost, ask: Callable[[], Reply[A]]) -> Answers[A]:
        """Ask a host, which gets the weights first if it lacks them. Raises its error."""
        reply = ask()
        if isinstance(reply, Unknown):
            for piece in (*pieces_of(self.folder), None):
                if failed := host.take(self._weights, piece):
                    raise failed.error()
            reply = ask()
        if isinstance(reply, Unknown):
            raise StageError(f"host {host.name} does not keep the checkpoint that it was sent")
        if isinstance(reply, Failed):
            raise reply.error()
        host.holds.add(self._weights)
        return reply


def _part_size(count: int, hosts: int) -> int:
    """Requests in one message: two messages for each host, so that a slow host takes fewer of them."""
    return max(1, min(_LARGEST, -(-count // (2 * max(1, hosts)))))


def _at_once(work: Callable[[int], A], starts: Collection[int]) -> Iterator[A]:
    """The results of `work`, as they come. Each call waits for a host of its own."""
    executor = ThreadPoolExecutor(max(1, len(starts)))
    try:
        for future in as_completed([executor.submit(work, start) for start in starts]):
            yield future.result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


class ClusterBackend(HFBackend):
    """Hugging Face models on the hosts of a cluster. The store of this process keeps answers and checkpoints."""

    def __init__(self, config: RunConfig, folder: Path, store: Store, pool: Pool) -> None:
        """`folder` is the base model's folder here. Raises ClusterError where the hosts have another model."""
        facts = pool.first_facts()
        super().__init__(config, folder, facts.placement, store)
        self._pool = pool
        if facts.model_digest != self.model_digest:
            raise ClusterError(
                f"the hosts have another model {config.model!r} than this machine: digest {facts.model_digest[:12]}"
                f" instead of {self.model_digest[:12]}. Put the same files on every node."
            )

    def _generator(self, folder: Path, weights: str) -> Generator:
        return RemoteGenerator(folder, self._generator_key(weights), self.placement, weights, self._pool)

    def _train(self, arm: Arm, training: Training, out: Path, on_step: Callable[[int, int], None]) -> None:
        """Let a host train, and write the files that it sends to `out`. A training that has failed is not repeated."""
        name, failed = f"the training of {arm.task} {arm.recipe} seed {arm.train_seed}", self._pool.failed
        data = training.data
        assert isinstance(data, PairSet)  # `check_cluster` refuses the other objectives

        def work(host: RemoteHost) -> None:
            reply = received(host.train(arm, data), out)
            if isinstance(reply, Failed):
                failed[name] = reply
            else:
                host.holds.add(reply.weights)
                on_step(reply.steps, reply.steps)

        if name not in failed:
            self._pool.call(name, "", work)
        if name in failed:
            raise failed[name].error()


def cluster_backend_maker(
    config: RunConfig, pool: Pool, examine: Callable[[Path, Placement], None]
) -> Callable[[Store], ClusterBackend]:
    """A function that makes the backend once a host has started. The model here is passed to `examine` first.

    Raises ModelError for a model that cannot be used here, where its prompts are rendered.
    """
    folder = resolve_model(config.model, config.store)

    def make(store: Store) -> ClusterBackend:
        examine(folder, pool.first_facts().placement)
        return ClusterBackend(config, folder, store, pool)

    return make


def received(stream: Iterable[Part | Trained | Failed], out: Path) -> Trained | Failed:
    """Write the files of a checkpoint to the folder `out`; returns the last record. Raises StageError, StorageError.

    A host that was lost while it sent may have left the same files there: they are written anew.
    """
    for record in stream:
        if isinstance(record, Trained):
            if folder_digest(out) != record.folder_digest:
                raise StageError("the checkpoint came damaged from its host")
            return record
        if isinstance(record, Failed):
            return record
        put_piece(out, record)
    raise HostLostError("it ended in the middle of a checkpoint")
