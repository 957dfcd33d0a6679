"""The ways to answer an arm: in one step, in several steps, against a contrast prompt, or best of several samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.pace import Work
from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.harness.errors import StageError
from mipo_bench.harness.evaluation.arm_answers import ArmAnswers, ArmContext, ArmRequests, render_arm
from mipo_bench.harness.evaluation.cached_answers import Expected, answer, likelihoods_or_reasons, response_work
from mipo_bench.harness.evaluation.failures import recorded
from mipo_bench.harness.evaluation.several_requests import answer_several, asks_several
from mipo_bench.harness.generators.chat_template import framed, kept_prompts
from mipo_bench.harness.plugins.optional import context_steps
from mipo_bench.harness.protocols import Chat, Likelihood, LikelihoodRequest, Prompt
from mipo_bench.harness.types import ContrastedBaseline, Response, SteppedBaseline


def answer_arm(arm_context: ArmContext) -> ArmAnswers:
    """Answer every item. The store keeps all responses, those of intermediate steps too.

    Raises StageError where no prompt can be rendered, or the model answers none.
    """
    baseline = arm_context.baseline
    if asks_several(arm_context.task):
        return answer_several(arm_context)
    if isinstance(baseline, SteppedBaseline):
        return _in_steps(arm_context, baseline)
    rendered = render_arm(arm_context.task, baseline, arm_context.arm, arm_context.model)
    if not isinstance(baseline, ContrastedBaseline):
        return _answered(arm_context, rendered)
    contrasts = _contrasts(arm_context, baseline, rendered)
    if baseline.contrast_use == "decoding":
        return _contrasted(arm_context, rendered, contrasts)
    if baseline.contrast_use == "reranking":
        return _best_of(arm_context, rendered, contrasts)
    return _best_option(arm_context, rendered, contrasts)


def _answered(arm_context: ArmContext, rendered: ArmRequests) -> ArmAnswers:
    """Answer the requests; an item whose request fails moves to the failed ones."""
    requests = list(rendered.requests.values())
    rendered.record_unanswered(answer(arm_context.model.generator, requests, arm_context.store, arm_context.meter))
    return rendered.answers()


def _in_steps(arm_context: ArmContext, baseline: SteppedBaseline) -> ArmAnswers:
    """Several steps: each prompt contains the responses of the steps before it, and the last response is scored.

    The prompts contain no thoughts.
    Only the last step has the task's options and response prefix. An item whose prompt overflows the context window
    takes no further step.
    """
    bare = replace(arm_context.task, items=tuple(replace(i, options=(), prefix="") for i in arm_context.task.items))
    rendered = replace(render_arm(bare, baseline, arm_context.arm, arm_context.model), task=arm_context.task)
    earlier: dict[str, list[str]] = {item: [] for item in rendered.requests}
    arm_context = _expecting_steps(arm_context, rendered, baseline.steps)
    for _ in range(1, baseline.steps):
        answered = _answered(arm_context, rendered)
        responses = answered.responses(arm_context.store)
        answers = answered.without_thoughts(responses)
        going_on = [name for name in rendered.requests if responses[name].finish != "overflow"]
        for name in going_on:
            earlier[name].append(answers[name].text)
        _next_step(arm_context, baseline, rendered, {name: earlier[name] for name in going_on})
    return _answered(arm_context, rendered)


def _expecting_steps(arm_context: ArmContext, rendered: ArmRequests, steps: int) -> ArmContext:
    """The arm with a meter that expects the work of all steps, as if each were like the first."""
    meter, first = arm_context.meter, [response_work(request) for request in rendered.requests.values()]
    meter.total += steps * len(first)
    meter.expect(Work.sum(first * steps), arm_context.store.claims.processes)
    return replace(arm_context, meter=Expected(meter))


def _next_step(
    arm_context: ArmContext, baseline: SteppedBaseline, rendered: ArmRequests, earlier: Mapping[str, Sequence[str]]
) -> None:
    """Put the next prompt of each item in place of its request. `earlier` has the item's responses so far."""
    chats, options, items = dict[str, Chat](), dict[str, tuple[str, ...]](), arm_context.items
    step = max(map(len, earlier.values()), default=0)
    last, seen = step == baseline.steps - 1, baseline.uses_context and step < context_steps(baseline)
    for name, texts in earlier.items():
        item = items[name] if last else replace(items[name], options=(), prefix="")
        with recorded(partial(rendered.record_failure, name)):
            messages = framed(baseline.follow_up(item, texts), item)
            chats[name], options[name] = Chat(messages, item.context if seen else None), item.options
    for name, prompt in _prompts(arm_context, rendered, chats).items():
        seed = seed_of("step", arm_context.arm.task, name, arm_context.arm.sample_seed, step)
        request = rendered.requests[name]
        rendered.requests[name] = replace(request, prompt=prompt.text, seed=seed, options=options[name])


def _contrasts(arm_context: ArmContext, baseline: ContrastedBaseline, rendered: ArmRequests) -> dict[str, str]:
    """Item -> the rendered contrast prompt. An item whose contrast prompt fails moves to the failed ones."""
    chats, items = {}, arm_context.items
    for name in list(rendered.requests):
        item = items[name]
        with recorded(partial(rendered.record_failure, name)):
            chats[name] = Chat(framed(baseline.contrast(item), item), None)
    return {name: prompt.text for name, prompt in _prompts(arm_context, rendered, chats).items()}


def _prompts(arm_context: ArmContext, rendered: ArmRequests, chats: Mapping[str, Chat]) -> dict[str, Prompt]:
    """Item -> the prompt of its chat. An item whose prompt fails moves to the failed ones."""
    generator, prompts = arm_context.model.generator, dict[str, Prompt]()
    for (name, chat), kept in zip(chats.items(), kept_prompts(generator, list(chats.values())), strict=True):
        with recorded(partial(rendered.record_failure, name)):
            prompts[name] = kept or generator.render(*chat)
    return prompts


def _contrasted(arm_context: ArmContext, rendered: ArmRequests, contrasts: Mapping[str, str]) -> ArmAnswers:
    """Context-aware decoding (arXiv 2305.14739): the contrast prompt changes the probability of every token."""
    for name, contrast in contrasts.items():
        weight = arm_context.settings.cad.weight
        rendered.requests[name] = replace(rendered.requests[name], contrast=contrast, contrast_weight=weight)
    return _answered(arm_context, rendered)


def _best_of(arm_context: ArmContext, rendered: ArmRequests, contrasts: Mapping[str, str]) -> ArmAnswers:
    """Best of n: the sample with the highest log p(y|prompt) - log p(y|contrast), in nats over all its tokens."""
    settings, arm = arm_context.settings.best_of_n, arm_context.arm
    decoding = replace(arm_context.task.decoding, temperature=settings.temperature, top_p=settings.top_p)
    samples = {
        name: [
            replace(request, decoding=decoding, seed=seed_of("sample", arm.task, name, arm.sample_seed, n))
            for n in range(settings.samples)
        ]
        for name, request in rendered.requests.items()
    }
    requests = [request for row in samples.values() for request in row]
    responses = iter(answer(arm_context.model.generator, requests, arm_context.store, arm_context.meter))
    drawn = {name: [next(responses) for _ in row] for name, row in samples.items()}
    texts = {name: list(dict.fromkeys(r.text for r in row if _usable(r))) for name, row in drawn.items()}
    gains = _gains(
        arm_context, rendered, {n: (samples[n][0].prompt, contrasts[n], tuple(t)) for n, t in texts.items() if t}
    )
    for name, row in drawn.items():
        if name in rendered.failed:
            continue
        values = [gains[name][texts[name].index(r.text)] if _usable(r) else -float("inf") for r in row]
        rendered.requests[name] = samples[name][values.index(max(values))]
    return _answered(arm_context, rendered)


def _usable(response: Response) -> bool:
    """Whether a sample takes part: an empty text has a gain of 0 and would win where all others are below 0."""
    return bool(response.text) and response.generated


def _best_option(arm_context: ArmContext, rendered: ArmRequests, contrasts: Mapping[str, str]) -> ArmAnswers:
    """Domain-conditional mutual information (arXiv 2104.08315), without generation.

    The response is the option with the highest log p(option|prompt) - log p(option|contrast). These differences
    replace the log-probabilities of the options, for tasks that score by them.
    """
    options = {name: request.options for name, request in rendered.requests.items()}
    gains = _gains(
        arm_context, rendered, {n: (rendered.requests[n].prompt, contrasts[n], o) for n, o in options.items()}
    )
    rows = {}
    for name, row in gains.items():
        chosen = options[name][row.index(max(row))]
        texts = (rendered.requests[name].prompt, contrasts[name], *options[name])
        key = digest(["best option", arm_context.model.generator.digest, *texts])
        rows[key] = Response(chosen, 0, 0, "stop", tuple(row))
        rendered.derived[name] = key
    arm_context.store.put_responses(list(rows.items()))
    return rendered.answers()


def _gains(
    arm_context: ArmContext, rendered: ArmRequests, texts_of: Mapping[str, tuple[str, str, tuple[str, ...]]]
) -> dict[str, list[float]]:
    """For each item's (prompt, contrast prompt, texts): log p(text|prompt) - log p(text|contrast), in nats.

    An item for which the model gives no log-probability moves to the failed ones. Raises StageError if all do.
    """
    prompts = [LikelihoodRequest(p, texts) for own, other, texts in texts_of.values() for p in (own, other)]
    rows = likelihoods_or_reasons(arm_context.model.generator, prompts, arm_context.store, arm_context.meter)
    gains = {}
    for name, own, other in zip(texts_of, rows[::2], rows[1::2], strict=True):
        if isinstance(own, str) or isinstance(other, str):
            reason = own if isinstance(own, str) else str(other)
            rendered.record_failure(name, StageError(reason), "likelihood")
        else:
            gains[name] = _differences(own, other)
    if texts_of and not gains:
        raise StageError(f"no item has usable log-probabilities: {next(iter(rendered.failed.values()))}")
    return gains


def _differences(own: Sequence[Likelihood], other: Sequence[Likelihood]) -> list[float]:
    return [a.logprob - b.logprob for a, b in zip(own, other, strict=True)]
