"""How an arm is answered: at once, step by step, against a contrast prompt, or by the best of several samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.progress import Meter
from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.harness.evaluation.arm_answers import AnsweringModel, ArmAnswers, ArmRequests, render_arm
from mipo_bench.harness.evaluation.cached_answers import answer, likelihoods
from mipo_bench.harness.evaluation.failures import recorded
from mipo_bench.harness.generators.chat_template import framed
from mipo_bench.harness.planning.plan import TaskPlan
from mipo_bench.harness.plugins.optional import context_steps
from mipo_bench.harness.protocols import Arm, Likelihood, LikelihoodRequest, Prompt
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Baseline, ContrastedBaseline, Item, Message, Response, SteppedBaseline


@dataclass(frozen=True, slots=True)
class ArmContext:
    """One arm, what answers it, where its answers are kept, and how it is asked."""

    task: TaskPlan
    baseline: Baseline
    arm: Arm
    model: AnsweringModel
    store: Store
    meter: Meter
    settings: RunConfig

    @property
    def items(self) -> dict[str, Item]:
        """The items by id."""
        return {item.id: item for item in self.task.items}


def answer_arm(arm_context: ArmContext) -> ArmAnswers:
    """Ask the arm and keep every response, those of intermediate steps too, in the store.

    Raises StageError where no prompt can be rendered, or none is answered.
    """
    baseline = arm_context.baseline
    if isinstance(baseline, SteppedBaseline):
        return _in_steps(arm_context, baseline)
    asked = render_arm(arm_context.task, baseline, arm_context.arm, arm_context.model)
    if not isinstance(baseline, ContrastedBaseline):
        return _answered(arm_context, asked)
    contrasts = _contrasts(arm_context, baseline, asked)
    if baseline.contrast_use == "decoding":
        return _contrasted(arm_context, asked, contrasts)
    if baseline.contrast_use == "reranking":
        return _best_of(arm_context, asked, contrasts)
    return _best_option(arm_context, asked, contrasts)


def _answered(arm_context: ArmContext, asked: ArmRequests) -> ArmAnswers:
    """Answer what stands in the requests; items that are not answered leave them."""
    requests = list(asked.requests.values())
    asked.record_unanswered(answer(arm_context.model.generator, requests, arm_context.store, arm_context.meter))
    return asked.answers()


def _render(arm_context: ArmContext, messages: Sequence[Message], item: Item, context: str | None) -> Prompt:
    return arm_context.model.generator.render(framed(messages, item), context)


def _in_steps(arm_context: ArmContext, baseline: SteppedBaseline) -> ArmAnswers:
    """Each step sees the responses of those before it; the last is scored.

    Only the last step asks for the options, and begins its response as the task wants it. An item whose prompt left no
    room at one step stays at it.
    """
    bare = replace(arm_context.task, items=tuple(replace(i, options=(), prefix="") for i in arm_context.task.items))
    asked = replace(render_arm(bare, baseline, arm_context.arm, arm_context.model), task=arm_context.task)
    earlier: dict[str, list[str]] = {item: [] for item in asked.requests}
    for _ in range(1, baseline.steps):
        found = _answered(arm_context, asked).responses(arm_context.store)
        for item in list(asked.requests):
            if found[item].finish != "overflow":
                earlier[item].append(found[item].text)
                _next_step(arm_context, baseline, asked, item, earlier[item])
    return _answered(arm_context, asked)


def _next_step(
    arm_context: ArmContext, baseline: SteppedBaseline, asked: ArmRequests, name: str, earlier: Sequence[str]
) -> None:
    step, item = len(earlier), arm_context.items[name]
    last = step == baseline.steps - 1
    item = item if last else replace(item, options=(), prefix="")
    seen = baseline.uses_context and step < context_steps(baseline)
    with recorded(partial(asked.record_failure, name)):
        prompt = _render(arm_context, baseline.follow_up(item, earlier), item, item.context if seen else None)
        seed = seed_of("step", arm_context.arm.task, name, arm_context.arm.sample_seed, step)
        asked.requests[name] = replace(asked.requests[name], prompt=prompt.text, seed=seed, options=item.options)


def _contrasts(arm_context: ArmContext, baseline: ContrastedBaseline, asked: ArmRequests) -> dict[str, str]:
    """Item -> the rendered contrast prompt; an item for which there is none fails."""
    found = {}
    for name in list(asked.requests):
        item = arm_context.items[name]
        with recorded(partial(asked.record_failure, name)):
            found[name] = _render(arm_context, baseline.contrast(item), item, None).text
    return found


def _contrasted(arm_context: ArmContext, asked: ArmRequests, contrasts: Mapping[str, str]) -> ArmAnswers:
    """Context-aware decoding (arXiv 2305.14739): every token is chosen against the contrast prompt."""
    for name, contrast in contrasts.items():
        weight = arm_context.settings.cad.weight
        asked.requests[name] = replace(asked.requests[name], contrast=contrast, contrast_weight=weight)
    return _answered(arm_context, asked)


def _best_of(arm_context: ArmContext, asked: ArmRequests, contrasts: Mapping[str, str]) -> ArmAnswers:
    """Of several samples the one with the highest log p(y|prompt) - log p(y|contrast), in nats over all its tokens."""
    settings, arm = arm_context.settings.best_of_n, arm_context.arm
    decoding = replace(arm_context.task.decoding, temperature=settings.temperature, top_p=settings.top_p)
    samples = {
        name: [
            replace(request, decoding=decoding, seed=seed_of("sample", arm.task, name, arm.sample_seed, n))
            for n in range(settings.samples)
        ]
        for name, request in asked.requests.items()
    }
    requests = [request for row in samples.values() for request in row]
    responses = iter(answer(arm_context.model.generator, requests, arm_context.store, arm_context.meter))
    drawn = {name: [next(responses) for _ in row] for name, row in samples.items()}
    texts = {name: list(dict.fromkeys(r.text for r in row if _usable(r))) for name, row in drawn.items()}
    gains = _gains(arm_context, {n: (samples[n][0].prompt, contrasts[n], tuple(t)) for n, t in texts.items() if t})
    for name, row in drawn.items():
        worth = [gains[name][texts[name].index(r.text)] if _usable(r) else -float("inf") for r in row]
        asked.requests[name] = samples[name][worth.index(max(worth))]
    return _answered(arm_context, asked)


def _usable(response: Response) -> bool:
    """Whether there is a text to compare: an empty one would have no information, and win where others have less."""
    return bool(response.text) and response.finish in ("stop", "length")


def _best_option(arm_context: ArmContext, asked: ArmRequests, contrasts: Mapping[str, str]) -> ArmAnswers:
    """Domain-conditional mutual information (arXiv 2104.08315): nothing is generated.

    The response is the text of the option of the highest log p(option|prompt) - log p(option|contrast); these
    differences stand where the options' log-probabilities do otherwise, for tasks that score by them.
    """
    options = {name: request.options for name, request in asked.requests.items()}
    gains = _gains(arm_context, {n: (asked.requests[n].prompt, contrasts[n], o) for n, o in options.items()})
    rows = {}
    for name, row in gains.items():
        chosen = options[name][row.index(max(row))]
        texts = (asked.requests[name].prompt, contrasts[name], *options[name])
        key = digest(["best option", arm_context.model.generator.digest, *texts])
        rows[key] = Response(chosen, 0, 0, "stop", tuple(row))
        asked.derived[name] = key
    arm_context.store.put_responses(list(rows.items()))
    return asked.answers()


def _gains(arm_context: ArmContext, asked: Mapping[str, tuple[str, str, tuple[str, ...]]]) -> dict[str, list[float]]:
    """For each item's (prompt, contrast prompt, texts): how many nats more probable each text is under the prompt."""
    prompts = [LikelihoodRequest(p, texts) for own, other, texts in asked.values() for p in (own, other)]
    found = likelihoods(arm_context.model.generator, prompts, arm_context.store, arm_context.meter)
    rows = zip(found[::2], found[1::2], strict=True)
    return {name: _differences(*row) for name, row in zip(asked, rows, strict=True)}


def _differences(own: Sequence[Likelihood], other: Sequence[Likelihood]) -> list[float]:
    return [a.logprob - b.logprob for a, b in zip(own, other, strict=True)]
