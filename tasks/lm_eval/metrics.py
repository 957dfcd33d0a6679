"""Scoring of single items by lm-eval's own code: the task's filters, `process_results`, and its metrics.

lm-eval has no public interface for scoring one item, so this module reads private attributes of its tasks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from mipo_bench.harness.errors import PluginError
from mipo_bench.harness.types import Item, Reading, Response, Score
from mipo_bench.tasks.lm_eval.figures import Figure, figure_of
from mipo_bench.tasks.lm_eval.requests import requests_of
from mipo_bench.tasks.lm_eval.targets import gold_problem, target_of
from mipo_bench.tasks.reading.letters import read_name

_BINARY = {"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"}
"""Metrics that are 0 or 1 for every item."""
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
_NOT_LOADED = "the library evaluate could not load from the Hugging Face hub"
_NOT_CHOSEN = -1e9
"""The stand-in log-probability of a text that was not chosen, if log-probabilities are unknown."""
_ROUNDING = 1e-9
"""How far outside of 0 to 1 a figure may be by rounding."""
Scored = tuple[float, bool]
"""A text's log-probability in nats, and whether it is the greedy one."""


class Metrics:
    """The scoring of one task. `headline` is the metric that gives the score; `binary`: it is 0 or 1 for every item."""

    def __init__(self, task: Any, name: str) -> None:
        """Raises PluginError, with the reason, if no metric of the task scores a single item in [0, 1]."""
        self._task, self._name = task, name
        self.filters = [f.name for f in task._filters]
        self._check_golds()
        self.left_out = dict.fromkeys(_without_function(task), _NOT_LOADED)
        for metric in self.left_out:
            task._metric_fn_list.pop(metric)
        example = self._example()
        self.figures: dict[str, Figure] = {}
        for metric, aggregation in task.aggregation().items():
            if metric in self.left_out:
                continue
            seen = next((value for (m, _), value in example.items() if m == metric), None)
            higher = bool(task.higher_is_better().get(metric, True))
            found = figure_of(metric, aggregation, seen, higher_is_better=higher)
            if isinstance(found, str):
                self.left_out[metric] = found
            else:
                self.figures[metric] = found
        for metric in self.left_out:
            getattr(task, "_metric_fn_list", {}).pop(metric, None)
        self._of_first = {metric for metric, _ in example}
        self.headline, self.filter = self._choose(), self.filters[0]

    def _choose(self) -> str:
        """The metric that serves best as the score; among perplexities that of bytes, which has the widest scale."""
        candidates = [m for m in self.figures if m in self._of_first]
        if not candidates:
            reasons = "; ".join(f"{metric} {why}" for metric, why in self.left_out.items())
            raise PluginError(f"{self._name} cannot be scored item by item: {reasons or 'it has no metric'}.")
        return min(candidates, key=lambda m: (self.figures[m].rank, self.figures[m].rank == 1 and "byte" not in m))

    def choose(self, metric: str, filter_name: str | None) -> bool:
        """Let a metric, under a filter or the first, give the score. False if the task does not have it."""
        name = self.filters[0] if filter_name is None else filter_name
        if metric not in self.figures or metric not in self._of_first or name not in self.filters:
            return False
        self.headline, self.filter = metric, name
        return True

    @property
    def binary(self) -> bool:
        """Whether every score is 0 or 1."""
        return self.headline in _BINARY and self._repeats == 1

    @property
    def description(self) -> str:
        """The headline metric, and the unsupported metrics with reasons."""
        figure = self.figures[self.headline]
        score = ("1 - " if figure.lower_is_better else "") + self._label(self.headline, self.filter)
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

        If log-probabilities are unknown, the text that the response names counts as the likeliest. Raises ValueError
        for a document whose gold is none of its options, or whose score is outside of 0 to 1.
        """
        if problem := gold_problem(self._task, doc):
            raise ValueError(problem)
        scored, reading = _scored(item, response)
        if reading is not None and reading.value is None:
            return Score(0.0, {}, parsed=False, reading=reading)
        values, invalid = self._values(doc, response.samples or (response.text,), scored)
        parts = {key: _bounded(self.figures[key[0]].of(value)) for key, value in values.items()}
        value = parts.pop((self.headline, self.filter), None)
        if value is None or not 0 <= value <= 1:
            raise ValueError(f"lm-eval's {self.headline} of this document is {value}, which is not from 0 to 1")
        score = 1 - value if self.figures[self.headline].lower_is_better else value
        within = {self._label(*key): part for key, part in parts.items() if 0 <= part <= 1}
        return Score(score, within, parsed=not invalid, reading=reading)

    def filtered(self, doc: Mapping[str, Any], response: Response) -> dict[str, str]:
        """Filter -> the text that it reads from a generated response; several texts as a list."""
        (instance,) = requests_of(self._task, doc).generated
        instance.resps = list(response.samples or (response.text,))
        for each in self._task._filters:
            each.apply([instance])
        return {name: str(instance.filtered_resps[name]) for name in self.filters}

    @property
    def _repeats(self) -> int:
        return int(self._task.config.repeats)

    def _values(
        self, doc: Mapping[str, Any], texts: Sequence[str], scored: Sequence[Scored]
    ) -> tuple[dict[tuple[str, str], Any], bool]:
        """(metric, filter) -> lm-eval's value; and whether the first filter found no answer."""
        values, answers = self._results(doc, texts, scored)
        return {key: value for key, value in values.items() if key[0] in self.figures}, answers == "[invalid]"

    def _results(
        self, doc: Mapping[str, Any], texts: Sequence[str], scored: Sequence[Scored]
    ) -> tuple[dict[tuple[str, str], Any], Any]:
        """(metric, filter) -> lm-eval's value; and the answer under the first filter. One text is all repeats."""
        requests = requests_of(self._task, doc)
        for instance in requests.generated:
            instance.resps = list(texts) if len(texts) > 1 else [texts[0]] * self._repeats
        for instance, found in zip(requests.scored, scored, strict=True):
            rolling = instance.request_type == "loglikelihood_rolling"
            instance.resps = [found[0] if rolling else found] * self._repeats
        instances = list(requests.instances)
        values: dict[tuple[str, str], Any] = {}
        for each in self._task._filters:
            each.apply(instances)
            results = self._task.process_results(doc, [one.filtered_resps[each.name] for one in instances])
            values |= {(metric, each.name): value for metric, value in results.items()}
        return values, instances[0].filtered_resps[self.filters[0]]

    def _check_golds(self) -> None:
        """Raise PluginError if no document's gold is one of its options."""
        problems = [gold_problem(self._task, doc) for doc in self._task.eval_docs]
        if problems and all(problems):
            raise PluginError(
                f"{self._name} has no right option in any of {len(problems)} documents: {problems[0]} in the first."
                " Correct doc_to_target, or take a split with labels."
            )

    def _example(self) -> dict[tuple[str, str], Any]:
        """(metric, filter) -> lm-eval's value of the first document for its target, and for the first text to score."""
        doc = self._task.eval_docs[0]
        try:
            scored = [(-1.0 - n, n == 0) for n in range(len(requests_of(self._task, doc).scored))]
            return self._results(doc, (target_of(self._task, doc),), scored)[0]
        except Exception as error:
            raise PluginError(
                f"{self._name} cannot score its first document: {type(error).__name__}: {error}"
            ) from error

    def _label(self, metric: str, filter_name: str) -> str:
        label = self.figures[metric].label
        return label if len(self.filters) == 1 else f"{label} ({filter_name})"


def _scored(item: Item, response: Response) -> tuple[Sequence[Scored], Reading | None]:
    """Log-probability and greediness of each text that the item asks for; and how an option was read from a text."""
    asked = [continuation.text for continuation in item.continuations] or list(item.options)
    if not asked:
        return (), None
    if response.option_logprobs is not None:
        greedy = response.greedy or [False] * len(response.option_logprobs)
        return list(zip(response.option_logprobs, greedy, strict=True)), None
    if not item.options:
        begun = [response.text.strip().startswith(text.strip()) and bool(text.strip()) for text in asked]
        return [(0.0, True) if found else (_NOT_CHOSEN, False) for found in begun], None
    reading = read_name(response.text, item.options)
    chosen = [(0.0, True) if option == reading.value else (_NOT_CHOSEN, False) for option in item.options]
    return [*chosen, *[(-1.0, False)] * (len(asked) - len(chosen))], reading


def _bounded(figure: float) -> float:
    """The figure, at a bound of 0 to 1 where it misses it by rounding."""
    nearest = min(max(figure, 0.0), 1.0)
    return nearest if abs(figure - nearest) <= _ROUNDING else figure


def check(task: Any, name: str, *, unsafe_code: bool) -> None:
    """Raise PluginError for a task that needs more than texts, or runs code that nobody has allowed."""
    if getattr(task, "MULTIMODAL", False):
        raise PluginError(f"{name} is not supported here: it has images or sounds in its prompts.")
    if getattr(task, "UNSAFE_CODE", False) and not unsafe_code:
        raise PluginError(
            f"{name} runs code that the model wrote. Where that can do no harm, such as in a container, allow it with"
            " the environment variable HF_ALLOW_CODE_EVAL=1."
        )
    if missing := [metric for metric in _without_function(task) if metric not in _of_evaluate(task)]:
        raise PluginError(f"{name} names the metric {missing[0]!r}, which lm-eval does not have.")


def _without_function(task: Any) -> list[str]:
    """The metrics of a generating task for which lm-eval has found no function."""
    if task.OUTPUT_TYPE != "generate_until" or task.config.process_results is not None:
        return []
    return [metric for metric, function in getattr(task, "_metric_fn_list", {}).items() if function is None]


def _of_evaluate(task: Any) -> set[str]:
    """The metrics that the task takes from the library `evaluate`, which loads them from the Hugging Face hub."""
    return {entry["metric"] for entry in task.config.metric_list or () if entry.get("hf_evaluate")}
