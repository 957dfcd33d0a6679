"""Scoring of single items by lm-eval's own code: the task's filters, `process_results`, and its metrics.

Only metrics that are defined for a single item are used. lm-eval has no public interface for scoring one item, so this
module reads private attributes of its tasks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from mipo_bench.harness.errors import PluginError
from mipo_bench.harness.types import Item, Response, Score
from mipo_bench.tasks.reading.letters import read_name

_BINARY = {"acc", "acc_norm", "acc_bytes", "exact_match"}
"""Metrics that are 0 or 1 for every item."""
_UNSUPPORTED = {
    "exact_match": "needs the greedy answer",
    "acc_mutual_info": "needs the options' log-probabilities without the prompt",
}
"""Multiple-choice metrics that need more than the options' log-probabilities -> the reason, for messages."""
_DEFINITION_FIELDS = (
    "output_type",
    "metric_list",
    "filter_list",
    "process_results",
    "doc_to_target",
    "doc_to_choice",
    "target_delimiter",
    "metadata",
)
"""The fields of a task's configuration on which scores depend."""
_NOT_CHOSEN = -1e9
"""The stand-in log-probability of an option that was not chosen, if log-probabilities are unknown."""


def target_of(task: Any, doc: Mapping[str, Any]) -> str:
    """The target as text: the first of several targets; empty if lm-eval declares no option right."""
    gold = task.doc_to_target(doc)
    first = gold[0] if isinstance(gold, list) and gold else gold
    if task.config.doc_to_choice is not None and isinstance(first, int):
        choices = task.doc_to_choice(doc)
        return str(choices[first]) if 0 <= first < len(choices) else ""
    return str(first)


def gold_problem(task: Any, doc: Mapping[str, Any]) -> str | None:
    """The reason why lm-eval would count every option of a document as wrong; None if its gold is an option."""
    if task.OUTPUT_TYPE != "multiple_choice" or task.config.process_results is not None:
        return None
    options, gold = task.doc_to_choice(doc), task.doc_to_target(doc)
    for right in gold if isinstance(gold, list) else [gold]:
        if right in options or (isinstance(right, int) and 0 <= right < len(options)):
            return None
    return f"the gold {gold!r} is none of the options {', '.join(map(repr, options))}"


def options_of(task: Any, doc: Mapping[str, Any]) -> tuple[str, ...]:
    """The options as continuations, as lm-eval appends them to the rendered chat."""
    return tuple(instance.arguments[1] for instance in _instances(task, doc))


class Metrics:
    """The scoring of one task. `headline` is the metric that gives the score; `binary`: it is 0 or 1 for every item."""

    def __init__(self, task: Any, name: str) -> None:
        """Raises PluginError, with the reason, if no metric of the task scores a single item in [0, 1]."""
        self._task, self._name = task, name
        _check(task, name)
        self.left_out = _unsupported_metrics(task)
        for metric in self.left_out:
            task._metric_fn_list.pop(metric)
        self.filters = [f.name for f in task._filters]
        self._check_golds()
        self._probe()
        candidates = [m for m in task._metric_fn_list if task.higher_is_better()[m]]
        if not candidates:
            reasons = "; ".join(f"{metric} {why}" for metric, why in self.left_out.items())
            raise PluginError(f"{name} cannot be scored item by item: {reasons or 'no metric is better when higher'}.")
        self.headline = candidates[0]
        self.binary = self.headline in _BINARY

    @property
    def description(self) -> str:
        """The headline metric, and the unsupported metrics with reasons."""
        score = self._label(self.headline, self.filters[0])
        unsupported = "".join(f"; without {metric}, which {why}" for metric, why in self.left_out.items())
        return f"scored by {score}{unsupported}"

    @property
    def definition(self) -> str:
        """Everything on which scores depend, as JSON: lm-eval's version and parts of the task's configuration."""
        config = self._task.dump_config()
        parts = {key: config[key] for key in _DEFINITION_FIELDS if key in config}
        return json.dumps({"lm-eval": version("lm-eval"), **parts}, sort_keys=True, default=str)

    def score(self, doc: Mapping[str, Any], item: Item, response: Response) -> Score:
        """The score of one response.

        If the options' log-probabilities are unknown, the option that the text names counts as the likeliest. Raises
        ValueError for a document whose gold is none of its options.
        """
        if problem := gold_problem(self._task, doc):
            raise ValueError(problem)
        resps: list[Any] = [response.text]
        reading = None
        if item.options:
            logprobs = response.option_logprobs
            if logprobs is None:
                reading = read_name(response.text, item.options)
                if reading.value is None:
                    return Score(0.0, {}, parsed=False, reading=reading)
                logprobs = tuple(0.0 if option == reading.value else _NOT_CHOSEN for option in item.options)
            resps = [(logprob, False) for logprob in logprobs]
        figures, invalid = self._figures(doc, resps)
        value = figures.pop((self.headline, self.filters[0]))
        parts = {self._label(*key): figure for key, figure in figures.items()}
        return Score(value, parts, parsed=not invalid, reading=reading)

    def filtered(self, doc: Mapping[str, Any], response: Response) -> dict[str, str]:
        """Filter -> the text that it reads from a generated response; several texts as a list."""
        (instance,) = _instances(self._task, doc)
        instance.resps = [response.text]
        for each in self._task._filters:
            each.apply([instance])
        return {name: str(instance.filtered_resps[name]) for name in self.filters}

    def _figures(self, doc: Mapping[str, Any], resps: Sequence[Any]) -> tuple[dict[tuple[str, str], float], bool]:
        """(metric, filter) -> value; and whether the first filter found no answer."""
        instances = _instances(self._task, doc)
        for instance, resp in zip(instances, resps, strict=True):
            instance.resps = [resp]
        found: dict[tuple[str, str], float] = {}
        for each in self._task._filters:
            each.apply(instances)
            results = [instance.filtered_resps[each.name] for instance in instances]
            figures = self._task.process_results(doc, results)
            kept = {m: v for m, v in figures.items() if m in self._task._metric_fn_list}
            found |= {(metric, each.name): _number(value) for metric, value in kept.items()}
        return found, instances[0].filtered_resps[self.filters[0]] == "[invalid]"

    def _check_golds(self) -> None:
        """Raise PluginError if no document's gold is one of its options."""
        problems = [gold_problem(self._task, doc) for doc in self._task.eval_docs]
        if problems and all(problems):
            raise PluginError(
                f"{self._name} has no right option in any of {len(problems)} documents: {problems[0]} in the first."
                " Correct doc_to_target, or take a split with labels."
            )

    def _probe(self) -> None:
        """Score the target of the first document, and drop every metric whose value is outside [0, 1]."""
        doc = self._task.eval_docs[0]
        count = len(_instances(self._task, doc))
        resps = [(float(-n), False) for n in range(count)] if self._is_multiple_choice else [target_of(self._task, doc)]
        try:
            figures, _ = self._figures(doc, resps)
        except Exception as error:
            raise PluginError(
                f"{self._name} cannot score its first document: {type(error).__name__}: {error}"
            ) from error
        for (metric, _), value in figures.items():
            if not (math.isfinite(value) and 0 <= value <= 1) and metric not in self.left_out:
                found = "no number" if math.isnan(value) else f"{value:g}, outside 0 to 1,"
                self.left_out[metric] = f"is {found} for the target of the first document"
                self._task._metric_fn_list.pop(metric)

    @property
    def _is_multiple_choice(self) -> bool:
        return bool(self._task.OUTPUT_TYPE == "multiple_choice")

    def _label(self, metric: str, filter_name: str) -> str:
        return metric if len(self.filters) == 1 else f"{metric} ({filter_name})"


def _number(value: Any) -> float:
    """A figure of lm-eval; NaN if it is no number, such as the texts that a corpus metric collects."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _instances(task: Any, doc: Mapping[str, Any]) -> list[Any]:
    """lm-eval's requests for a document: one per option of multiple choice, otherwise one."""
    made = task.construct_requests(doc=doc, ctx="", metadata=(task.config.task, 0, 1), apply_chat_template=True)
    return made if isinstance(made, list) else [made]


def _check(task: Any, name: str) -> None:
    """Raise PluginError for a task that needs more than one generated answer, or one choice, per document."""
    reasons = {
        f"has the output type {task.OUTPUT_TYPE}; multiple_choice and generate_until are supported": task.OUTPUT_TYPE
        not in ("multiple_choice", "generate_until"),
        "has options that are prompts instead of continuations": bool(task.multiple_input),
        f"generates {task.config.repeats} responses for each document": task.config.repeats > 1,
        "has images or sounds in its prompts": bool(getattr(task, "MULTIMODAL", False)),
        "runs code that the model wrote": bool(getattr(task, "UNSAFE_CODE", False)),
    }
    missing = [m for m, function in task._metric_fn_list.items() if function is None]
    if missing and task.config.process_results is None:
        raise PluginError(f"{name} names the metric {missing[0]!r}, which lm-eval does not have.")
    for reason, applies in reasons.items():
        if applies:
            raise PluginError(f"{name} is not supported here: it {reason}. Run it with lm-eval itself.")


def _unsupported_metrics(task: Any) -> dict[str, str]:
    """The metrics that cannot score a single item -> the reason."""
    from lm_eval.api.metrics import mean

    chooses = task.OUTPUT_TYPE == "multiple_choice" and task.config.process_results is None
    found = {m: why for m, why in _UNSUPPORTED.items() if chooses and m in task._metric_fn_list}
    for metric in task._metric_fn_list:
        if task.aggregation()[metric] is not mean and metric not in found:
            found[metric] = "is defined only for the whole corpus"
    return found
