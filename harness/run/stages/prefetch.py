"""Prefetch: the base model answers all requests that are known from the start in one stream, before the first arm.

Arms of a few hundred short prompts would each end with half-empty batches; one stream keeps the batches full. A
response depends on its own request alone, so only the time changes: each arm finds its responses in the store.

The requests are made twice. The first time tells how much work there is, so that the time left is that of the whole
stage; the second time they are answered, a chunk at a time. Most prompts are rendered once, for the store keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from mipo_bench.harness.core.pace import Work
from mipo_bench.harness.core.progress import Stage
from mipo_bench.harness.evaluation.arm_answers import AnsweringModel, render_arm
from mipo_bench.harness.evaluation.cached_answers import Expected, answer, response_key, response_work
from mipo_bench.harness.evaluation.failures import recorded
from mipo_bench.harness.planning.plan import Plan
from mipo_bench.harness.plugins.optional import objective_of
from mipo_bench.harness.protocols import Generator, Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.training.pairs import PairSource, pair_requests
from mipo_bench.harness.types import ContrastedBaseline, SteppedBaseline

CHUNK = 8192
"""Requests in memory at one time."""


def prefetch_answers(
    requests: Callable[[], Iterable[Request]], generator: Generator, store: Store, stage: Stage, chunk: int = CHUNK
) -> None:
    """Answer all requests and store the responses; `requests` makes them anew at each call.

    Stops at a failed request: its arm repeats it and reports it.
    """
    with stage.doing("rendering the prompts"):
        lacking, stored, work = _survey(requests(), generator, store, chunk)
    store.claims.need_help(len(lacking))
    stage.total += len(lacking) + stored
    stage.find(stored)
    if not lacking:
        return
    stage.expect(work, store.claims.processes)
    for part in _parts(_of_keys(lacking, requests(), generator), chunk):
        if any(response.failed for response in answer(generator, part, store, Expected(stage))):
            return


def _survey(requests: Iterable[Request], generator: Generator, store: Store, chunk: int) -> tuple[set[str], int, Work]:
    """The keys of the responses that the store lacks, the number of those that it has, and the work that it lacks."""
    keys, lacking, work = set[str](), set[str](), Work()
    for part in _parts(requests, chunk):
        new = {key: request for request in part if (key := response_key(generator, request)) not in keys}
        stored = store.responses(list(new))
        keys.update(new)
        lacking.update(new.keys() - stored.keys())
        work = Work.sum([work, *(response_work(request) for key, request in new.items() if key not in stored)])
    return lacking, len(keys) - len(lacking), work


def _of_keys(keys: set[str], requests: Iterable[Request], generator: Generator) -> Iterator[Request]:
    """The first request of each key."""
    left = set(keys)
    for request in requests:
        if (key := response_key(generator, request)) in left:
            left.remove(key)
            yield request


def _parts(requests: Iterable[Request], size: int) -> Iterator[list[Request]]:
    stream = iter(requests)
    while part := list(islice(stream, size)):
        yield part


def prompting_requests(plan: Plan, model: AnsweringModel) -> Iterator[Request]:
    """The requests of the prompting arms of all tasks. An arm whose prompts fail is left out: it reports the error."""
    for task in plan.tasks:
        for arm in plan.arms_of(task.task.name, trained=False):
            baseline = plan.baselines[arm.baseline]
            if isinstance(baseline, SteppedBaseline | ContrastedBaseline):
                continue  # its requests depend on earlier responses or on a contrast prompt
            requests: Iterable[Request] = ()
            with recorded(_left_to_its_arm):
                requests = render_arm(task, baseline, arm, model).requests.values()
            yield from requests


def pair_requests_of(sources: Iterable[PairSource], generator: Generator) -> Iterator[Request]:
    """The requests of all preference pairs. A training whose pairs fail is left out: its arm reports the error."""
    for source in sources:
        if objective_of(source.recipe) == "grpo":
            continue  # GRPO samples from the model in training
        requests: Iterable[Request] = ()
        with recorded(_left_to_its_arm):
            requests = list(pair_requests(source, generator))
        yield from requests


def _left_to_its_arm(error: BaseException) -> None:
    """Record nothing: the arm itself meets the same error and reports it."""
