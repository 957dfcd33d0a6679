"""Measures the base rates of the task `preferences`: how often a response without any context meets a preference.

Every training request is answered once under the prompt of `no-context`, with the decoding of a run, and every
preference that can be checked on it is checked. By hand; a second call finds the responses in the run store:

    OMP_NUM_THREADS=1 python tests/benchmarks/studies/preferences_base_rates.py MODEL  # prints the rows
"""

from __future__ import annotations

import sys
from collections import defaultdict
from contextlib import closing
from dataclasses import replace

from mipo_bench.harness.backends.select import backend_maker
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.progress import Stage
from mipo_bench.harness.evaluation.arm_answers import AnsweringModel, render_arm
from mipo_bench.harness.evaluation.cached_answers import answer
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.protocols import Arm
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Item, Response
from mipo_bench.tasks.preferences.checks.no_answer import is_answer
from mipo_bench.tasks.preferences.checks.response_text import ResponseText
from mipo_bench.tasks.preferences.kinds import KINDS, Preference
from mipo_bench.tasks.preferences.requests import REQUESTS, TAGS_OF

BASELINE = "no-context"
SEEDED_AS = "preferences-base-rates"
"""The name of the task from which the sampling seeds are derived."""


def every_preference() -> list[Preference]:
    """Each kind with each of its values. All names share one base rate; the first is tried."""
    tried = {"name": KINDS["name"].values[:1]}
    return [Preference(k.name, value) for k in KINDS.values() for value in tried.get(k.name, k.values)]


def responses(config: RunConfig) -> list[tuple[Item, Response]]:
    """Each training request with the model's response, from the run store where it has one."""
    requests = [request.text for request in REQUESTS if not request.held_out]
    items = tuple(Item(f"request-{n:03d}", text, "-", f"user-{n:03d}", "-") for n, text in enumerate(requests))
    plan = make_plan(config)
    task = replace(plan.tasks[0], items=items)
    with closing(Store(config.store)) as store:
        backend = backend_maker(config)(store)
        model = AnsweringModel(backend.base, backend.model_digest)
        arm = Arm(SEEDED_AS, BASELINE, sample_seed=config.decoding.seed)
        rendered = render_arm(task, plan.baselines[BASELINE], arm, model)
        answer(model.generator, list(rendered.requests.values()), store, Stage("base rates", "responses"))
        found = rendered.answers().responses(store)
    return [(item, found[item.id]) for item in items]


def main(model: str) -> None:
    """Print every base rate with the number of responses that it is a share of."""
    met: dict[str, list[bool]] = defaultdict(list)
    for item, response in responses(load_config(None, [], {"model": model, "tasks": ["preferences"], "recipes": []})):
        read = ResponseText(response.text)
        answered = is_answer(read, item.prompt)
        for preference in every_preference():
            if preference.concerns(TAGS_OF[item.prompt]):
                met[preference.measured_as].append(answered and preference.met_by(read))
    for name, found in met.items():
        print(f'    "{name}": {sum(found) / len(found):.2f},  # of {len(found)}')


if __name__ == "__main__":
    main(sys.argv[1])
