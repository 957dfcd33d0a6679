"""Prefetch: the base model answers all requests that are known from the start in one stream, before the first arm.

Arms of a few hundred short prompts would each end with half-empty batches; one stream keeps the batches full. A
response depends on its own request alone, so only the time changes: each arm finds its responses in the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from mipo_bench.harness.core.progress import Meter
from mipo_bench.harness.evaluation.arm_answers import AnsweringModel, render_arm
from mipo_bench.harness.evaluation.cached_answers import answer
from mipo_bench.harness.evaluation.failures import recorded
from mipo_bench.harness.planning.plan import Plan
from mipo_bench.harness.plugins.optional import objective_of
from mipo_bench.harness.protocols import Generator, Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.training.pairs import PairSource, pair_requests
from mipo_bench.harness.types import ContrastedBaseline, SteppedBaseline

CHUNK = 8192
"""Requests in memory at one time."""


def prefetch_answers(requests: Iterable[Request], generator: Generator, store: Store, meter: Meter) -> None:
    """Answer all requests and store the responses. Stops at a failed request: its arm repeats it and reports it."""
    stream = iter(requests)
    while chunk := list(islice(stream, CHUNK)):
        if any(response.failed for response in answer(generator, chunk, store, meter)):
            return


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
