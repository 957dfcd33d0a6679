"""What is sure to be asked of the base model, asked in one stream before the arms that need it.

Arms of a few hundred short prompts would each end with half-empty batches; together they keep the slots full. An answer
depends on its own request alone, so nothing changes but the time: each arm finds its answers in the store.
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
"""Requests that are held in memory at once."""


def prefetch_answers(requests: Iterable[Request], generator: Generator, store: Store, meter: Meter) -> None:
    """Answer everything into the store. Gives up where a request fails: its arm asks again, and says what is wrong."""
    stream = iter(requests)
    while chunk := list(islice(stream, CHUNK)):
        if any(response.failed for response in answer(generator, chunk, store, meter)):
            return


def prompting_requests(plan: Plan, model: AnsweringModel) -> Iterator[Request]:
    """What the prompting arms of all tasks ask of the base model; an arm that cannot be asked is left to itself."""
    for task in plan.tasks:
        for arm in plan.arms_of(task.task.name, trained=False):
            baseline = plan.baselines[arm.baseline]
            if isinstance(baseline, SteppedBaseline | ContrastedBaseline):
                continue  # what it asks depends on answers, or is not what its messages say
            asked: Iterable[Request] = ()
            with recorded(_left_to_its_arm):
                asked = render_arm(task, baseline, arm, model).requests.values()
            yield from asked


def pair_requests_of(sources: Iterable[PairSource], generator: Generator) -> Iterator[Request]:
    """What the preference pairs of all trainings ask of the base model; what cannot be paired is left to its arm."""
    for source in sources:
        if objective_of(source.recipe) == "grpo":
            continue  # its responses come from the model in training
        asked: Iterable[Request] = ()
        with recorded(_left_to_its_arm):
            asked = list(pair_requests(source, generator))
        yield from asked


def _left_to_its_arm(error: BaseException) -> None:
    """Record nothing here: the arm meets the same error, and its row of the report names it."""
