"""Parity of definitions, item by item: this harness and `lm_eval.simple_evaluate` on the same rows and answers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from definitions.given_rows import Row
from definitions.made_rows import load
from definitions.scripted import Script, ScriptedGenerator, ScriptedLM

from mipo_bench.baselines.prompting.few_shot import FewShot
from mipo_bench.baselines.prompting.plain import Plain
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.progress import Stage
from mipo_bench.harness.evaluation.arm_answers import AnsweringModel, ArmAnswers, ArmContext
from mipo_bench.harness.evaluation.strategies import answer_arm
from mipo_bench.harness.planning.plan import TaskPlan
from mipo_bench.harness.protocols import Arm, Generator
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Item, Response, Score
from mipo_bench.tasks.lm_eval.group import LMEvalGroup
from mipo_bench.tasks.lm_eval.task import LMEvalTask

Sample = Mapping[str, Any]


@dataclass(frozen=True)
class Definition:
    """A definition of lm-eval with its functions resolved, and the rows that stand for its data."""

    name: str
    config: Mapping[str, Any]
    rows: list[Row]


@dataclass(frozen=True)
class Answered:
    """Our side: the items of a task, with the requests, responses and scores of the scripted model."""

    task: LMEvalTask | LMEvalGroup
    items: Sequence[Item]
    answers: ArmAnswers
    responses: Mapping[str, Response]
    scores: Mapping[str, Score]


def theirs(tasks: Iterable[Any], script: Script) -> Mapping[str, Any]:
    """The results of `simple_evaluate` on tasks, groups or paths of files."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    results: Mapping[str, Any] = lm_eval.simple_evaluate(
        model=ScriptedLM(script),
        tasks=list(tasks),
        task_manager=TaskManager(include_defaults=False),
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        log_samples=True,
        bootstrap_iters=0,
    )
    return results


def ours(task: LMEvalTask | LMEvalGroup, script: Script, folder: Path, generator: Generator | None = None) -> Answered:
    """Answer and score a task with the scripted model, through the store and the reference baseline."""
    items = tuple(task.items("eval"))
    baseline = FewShot() if task.reference == "few-shot" else Plain()
    plan = TaskPlan(task, items, (), baseline.name, (baseline.name,), (), task.decoding)
    store = Store(folder)
    model = AnsweringModel(generator or ScriptedGenerator(script), "scripted")
    stage = Stage("test", "responses")
    done = answer_arm(ArmContext(plan, baseline, Arm(task.name, baseline.name), model, store, stage, RunConfig()))
    responses = done.responses(store)
    store.close()
    return Answered(task, items, done, responses, {i.id: task.score(i, responses[i.id]) for i in items})


def with_samples_of(answered: Answered, samples: Sequence[Sample]) -> Answered:
    """The task scored on the samples of lm-eval, which has no seeds for them."""
    texts = {answered.items[s["doc_id"]].id: tuple(s["resps"][0]) for s in samples}
    responses = {name: replace(answered.responses[name], text=row[0], samples=row) for name, row in texts.items()}
    scores = {item.id: answered.task.score(item, responses[item.id]) for item in answered.items}
    return replace(answered, responses=responses, scores=scores)


def differences(task: LMEvalTask, answered: Answered, samples: Sequence[Sample]) -> list[str]:
    """The items on which the two sides differ: a prompt, an answer, or a figure of any filter."""
    found = []
    for sample in samples:
        item, doc = answered.items[sample["doc_id"]], f"{answered.task.name} {sample['doc_id']}"
        score, response = answered.scores[item.id], answered.responses[item.id]
        prompt = sample["arguments"][0][0]
        if prompt and not item.continuations and prompt != answered.answers.requests[item.id].prompt:
            found.append(f"{doc}: prompt {prompt[:60]!r}")
        problems = (_figure_problem(task, score, metric, sample) for metric in sample["metrics"])
        found += [f"{doc}: {problem} ({response.text[:40]!r})" for problem in problems if problem]
    return found


def _figure_problem(task: LMEvalTask, score: Score, metric: str, sample: Sample) -> str | None:
    """The difference of one figure; None if it is equal, or none of ours."""
    metrics = task.metrics
    if metric not in metrics.figures:
        return None
    wanted = metrics.figures[metric].of(sample[metric])
    if (metric, sample["filter"]) == (metrics.headline, metrics.filter):
        value: float | None = 1 - score.value if metrics.figures[metric].lower_is_better else score.value
    else:
        label = metrics.figures[metric].label
        value = score.parts.get(label if len(metrics.filters) == 1 else f"{label} ({sample['filter']})")
    if value is None:
        return None if not 0 <= wanted <= 1 else f"{metric} is missing"
    return None if math.isclose(value, wanted, abs_tol=1e-9) else f"{metric} is {value}, not {wanted}"


def compare(definitions: Sequence[Definition], folder: Path) -> dict[str, list[str]]:
    """Definition -> its differences, of one call of `simple_evaluate` for all of them."""
    tasks = {d.name: LMEvalTask(load(d.config, d.rows)) for d in definitions}
    targets = {item.target for task in tasks.values() for item in task.items("eval")}
    script = Script([*sorted(targets), "the answer is (B)", "Answer: 3", "no"])
    results = theirs([load(d.config, d.rows) for d in definitions], script)
    found = {}
    for n, (name, task) in enumerate(tasks.items()):
        answered = ours(task, script, folder / str(n))
        if task.repeats > 1:
            answered = with_samples_of(answered, results["samples"][name])
        found[name] = differences(task, answered, results["samples"][name]) + _mean_problem(
            task, answered, results["results"][name]
        )
    return found


def _mean_problem(task: LMEvalTask, answered: Answered, results: Mapping[str, Any]) -> list[str]:
    """The difference of the mean score and lm-eval's figure of the task, where that is a mean."""
    metrics = task.metrics
    if metrics.figures[metrics.headline].rank not in (0, 2):
        return []
    mean = sum(score.value for score in answered.scores.values()) / len(answered.scores)
    wanted = metrics.figures[metrics.headline].of(results[f"{metrics.headline},{metrics.filter}"])
    wanted = 1 - wanted if metrics.figures[metrics.headline].lower_is_better else wanted
    return [] if math.isclose(mean, wanted, abs_tol=1e-9) else [f"{task.name}: the mean is {mean}, not {wanted}"]
