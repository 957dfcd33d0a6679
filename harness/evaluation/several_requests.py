"""Answers to items that ask for more than one response: log-probabilities of texts, and several samples.

All answers to an item become one response in the store. Its `option_logprobs` and `greedy` belong to the item's
`continuations`, its `samples` to the repeats of the task. Samples are stored without their thoughts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.harness.errors import StageError
from mipo_bench.harness.evaluation.arm_answers import ArmAnswers, ArmContext, ArmRequests, render_arm
from mipo_bench.harness.evaluation.cached_answers import answer, likelihoods_or_reasons, response_key
from mipo_bench.harness.evaluation.failures import recorded
from mipo_bench.harness.generators.chat_template import prompt_of
from mipo_bench.harness.planning.plan import TaskPlan
from mipo_bench.harness.plugins.optional import repeats
from mipo_bench.harness.protocols import Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.types import Continuation, Response
from mipo_bench.tasks.reading.thoughts import without_thoughts


def asks_several(task: TaskPlan) -> bool:
    """Whether one response does not answer an item of the task."""
    return repeats(task.task) > 1 or any(item.continuations for item in task.items)


def answer_several(arm_context: ArmContext) -> ArmAnswers:
    """Answer every item by all that it asks for. Raises StageError where no item can be answered."""
    items = tuple(replace(item, options=()) if item.continuations else item for item in arm_context.task.items)
    bare = replace(arm_context.task, items=items)
    rendered = render_arm(bare, arm_context.baseline, arm_context.arm, arm_context.model)
    rendered = replace(rendered, task=arm_context.task)
    samples = _samples(arm_context, rendered)
    found = _likelihoods(arm_context, rendered, [n for n, row in samples.items() if row[0].finish != "overflow"])
    rows = {}
    for name, request in rendered.requests.items():
        response = _joined(arm_context, request, samples[name], found.get(name))
        key = _key(arm_context, request, response)
        rows[key], rendered.derived[name] = response, key
    if not rows:
        raise StageError(f"no item could be answered: {next(iter(rendered.failed.values()))}")
    arm_context.store.put_responses(list(rows.items()))
    return rendered.answers()


def _key(arm_context: ArmContext, request: Request, response: Response) -> str:
    """The content key: the request that all others follow from, and the figures and texts that were found."""
    tags = [str(tag) for tag in arm_context.task.thought_tags]
    own = response_key(arm_context.model.generator, request)
    return digest(["several", own, *tags, response.option_logprobs, response.greedy, response.samples])


def _samples(arm_context: ArmContext, rendered: ArmRequests) -> dict[str, list[Response]]:
    """Item -> its responses. The first has the seed of the item; an item with a failed response moves to the failed."""
    count = repeats(arm_context.task.task)
    asked = {
        name: [request, *(replace(request, seed=seed_of("repeat", request.seed, n)) for n in range(1, count))]
        for name, request in rendered.requests.items()
    }
    flat = [request for row in asked.values() for request in row]
    answers = iter(answer(arm_context.model.generator, flat, arm_context.store, arm_context.meter))
    found = {name: [next(answers) for _ in row] for name, row in asked.items()}
    rendered.record_unanswered([next((r for r in row if r.failed), row[0]) for row in found.values()])
    return {name: found[name] for name in rendered.requests}


def _likelihoods(
    arm_context: ArmContext, rendered: ArmRequests, names: Sequence[str]
) -> dict[str, tuple[Likelihood, ...]]:
    """Item -> the likelihood of each of its continuations. An item without usable figures moves to the failed ones."""
    asked: dict[str, list[LikelihoodRequest]] = {}
    for name in names:
        with recorded(partial(rendered.record_failure, name)):
            asked[name] = [
                LikelihoodRequest(_prompt(arm_context, rendered, name, one), (one.text,))
                for one in arm_context.items[name].continuations
            ]
    flat = [question for row in asked.values() for question in row]
    generator = arm_context.model.generator
    rows = iter(likelihoods_or_reasons(generator, flat, arm_context.store, arm_context.meter) if flat else ())
    found: dict[str, tuple[Likelihood, ...]] = {}
    for name, questions in asked.items():
        own = [next(rows) for _ in questions]
        reason = next((row for row in own if isinstance(row, str)), None)
        if reason is not None:
            rendered.record_failure(name, StageError(reason), "likelihood")
        else:
            found[name] = tuple(row[0] for row in own if not isinstance(row, str))
    return found


def _prompt(arm_context: ArmContext, rendered: ArmRequests, name: str, continuation: Continuation) -> str:
    """The rendered prompt that a text continues: the item's, another one, or none."""
    if continuation.prompt is None:
        return rendered.requests[name].prompt
    if not continuation.prompt:
        return ""
    item = replace(arm_context.items[name], prompt=continuation.prompt)
    return prompt_of(arm_context.baseline, item, arm_context.model.generator).text


def _joined(
    arm_context: ArmContext, request: Request, samples: Sequence[Response], found: Sequence[Likelihood] | None
) -> Response:
    """One response of all answers to an item. Its tokens are those of all samples."""
    first = samples[0]
    if len(samples) > 1:
        tags = arm_context.task.thought_tags
        texts = tuple(without_thoughts(sample.text, request.prompt, tags).text for sample in samples)
        cut = any(sample.finish == "length" for sample in samples)
        tokens = sum(sample.n_tokens for sample in samples)
        first = replace(first, text=texts[0], samples=texts, n_tokens=tokens, finish="length" if cut else first.finish)
    if not found:
        return first
    return replace(first, option_logprobs=tuple(x.logprob for x in found), greedy=tuple(x.greedy for x in found))
