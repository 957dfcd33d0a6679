"""Tasks of lm-eval (EleutherAI's evaluation harness) with lm-eval's prompts and metrics.

    --task lm-eval:arc_easy            a built-in task
    --task lm-eval:mmlu                a group with a figure of its own, as one task
    --task lm-eval:arc_easy@5          the same task with five shots instead of its own number
    --task lm-eval:tasks/mine.yaml     a task file; functions and classes that it names run with your rights

Prompts are those of lm-eval's command line with `apply_chat_template` and `fewshot_as_multiturn`: the description is
the system turn, and the shots are earlier turns, drawn with lm-eval's seed and in its order. Options and texts are
scored by log-probability, generated texts pass through the task's filters, and lm-eval's `process_results` computes the
figures of each item, so they equal lm-eval's. The score is the first metric that is a mean over items, lies in [0, 1]
and is better when higher; failing that, see `figures`. The other metrics are reported as its parts.

Training items come from the task's training split, without documents whose prompt is also in the evaluation. A task
without that split has no training items, nor has a task with `gen_prefix` (the beginning of the response), nor one
whose texts do not continue one prompt. Recipes do not apply to a task without training items.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from mipo_bench.harness.errors import PluginError
from mipo_bench.harness.types import Decoding, Item, Response, Score, Split, Suite
from mipo_bench.tasks.lm_eval.metrics import Metrics, check
from mipo_bench.tasks.lm_eval.requests import DocumentRequests, requests_of
from mipo_bench.tasks.lm_eval.targets import target_of

SHOT_SEED = 1234
"""lm-eval's default `fewshot_random_seed`."""
_MAX_NEW_TOKENS = 256
"""lm-eval's default `max_gen_toks`."""
_SHOWN = 200
"""Characters of a text without a prompt that stand for its prompt."""


class LMEvalTask:
    """One task of lm-eval."""

    reasoning = False

    def __init__(self, task: Any, shots: int | None = None, source: str = "") -> None:
        """`task` is lm-eval's, with its data; `shots` replaces its own number; `source` names its file.

        Raises PluginError for a task that cannot be scored here, with the reason.
        """
        self._task = task
        own = task.config.num_fewshot or 0
        self._shots = own if shots is None else shots
        plain = re.sub(r"[^\w.-]", "-", str(task.config.task))
        self.name = f"lm-eval:{plain}" + (f"-{self._shots}shot" if self._shots != own else "")
        check(task, self.name, unsafe_code=os.environ.get("HF_ALLOW_CODE_EVAL") == "1")
        task.set_fewshot_seed(SHOT_SEED)
        self.metrics = Metrics(task, self.name)
        first = self._requests_of_first()
        self._generates, self._one_prompt = bool(first.generated), _has_one_prompt(first)
        self._as_options = task.OUTPUT_TYPE == "multiple_choice" and self._one_prompt and not _needs_more(task)
        self.repeats: int = task.config.repeats if self._generates else 1
        self.suite: Suite = "math" if self._generates else "choice"
        self.version = int(float(str(task.VERSION))) if re.fullmatch(r"[\d.]+", str(task.VERSION)) else 0
        self.reference = "few-shot" if self._shots else "plain"
        self.decoding = self._decoding(first)
        self.max_new_tokens = self.decoding.max_new_tokens or 64
        self.definition = self.metrics.definition
        self._describe(f" from {source}" if source else "")

    def _describe(self, source: str = "") -> None:
        self.binary = self.metrics.binary
        self.description = f"lm-eval task {self._task.config.task}{source}, {self.metrics.description}"

    def score_by(self, metric: str, filter_name: str | None) -> bool:
        """Let a metric, under a filter or the first, give the score. False if the task does not have it."""
        found = self.metrics.choose(metric, filter_name)
        self._describe()
        return found

    def items(self, split: Split) -> Sequence[Item]:
        """The items of lm-eval's evaluation documents or of its training split, in lm-eval's order."""
        return self._eval_items if split == "eval" else self._train_items

    def score(self, item: Item, response: Response) -> Score:
        """The result of lm-eval's `process_results` for the response, after each of the task's filters."""
        return self.metrics.score(self._doc(item), item, response)

    def filtered(self, item: Item, response: Response) -> Mapping[str, str]:
        """Filter -> the text that it reads from a generated response; empty for a task that scores texts."""
        return self.metrics.filtered(self._doc(item), response) if self._generates else {}

    def gold(self, item: Item) -> str:
        """The target."""
        return item.target

    def wrong(self, item: Item) -> str:
        """Another option; in a task without options, a text without an answer."""
        others = [option for option in item.options if option != item.target]
        return others[0] if others else "no answer"

    def _requests_of_first(self) -> DocumentRequests:
        """The requests of the first document. Raises PluginError for a task that generates several texts of it."""
        first = requests_of(self._task, self._task.eval_docs[0])
        if len(first.generated) > 1:
            raise PluginError(f"{self.name} is not supported here: it generates several texts for each document.")
        return first

    def _decoding(self, first: DocumentRequests) -> Decoding:
        """The decoding that the task's requests ask for, with lm-eval's defaults."""
        if not first.generated:
            return Decoding(0, 0.0)
        kwargs = dict(first.generated[0].arguments[1])
        limits = (kwargs.get(n) for n in ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"))
        until = kwargs.get("until") or []
        sampled = kwargs.get("do_sample") is not False
        return Decoding(
            max_new_tokens=int(next((n for n in limits if n is not None), _MAX_NEW_TOKENS)),
            temperature=float(kwargs.get("temperature", 0.0)) if sampled else 0.0,
            top_p=float(kwargs.get("top_p", 1.0)),
            stop=tuple(until) if isinstance(until, list) else (str(until),),
            verbatim=True,
        )

    @cached_property
    def _docs(self) -> dict[Split, list[Mapping[str, Any]]]:
        trains = self._task.has_training_docs() and not self._task.config.gen_prefix and self._one_prompt
        return {"eval": list(self._task.eval_docs), "train": list(self._task.training_docs()) if trains else []}

    @cached_property
    def _eval_items(self) -> tuple[Item, ...]:
        self._task.set_fewshot_seed(SHOT_SEED)
        return tuple(self._item(str(n), doc) for n, doc in enumerate(self._docs["eval"]))

    @cached_property
    def _train_items(self) -> tuple[Item, ...]:
        eval_prompts = {item.prompt for item in self._eval_items}
        self._task.set_fewshot_seed(SHOT_SEED)
        sampler = self._task.sampler if self._docs["train"] else None
        items = []
        for n, doc in enumerate(self._docs["train"]):
            self._task.sampler = _ExcludingSampler(sampler, doc)
            items.append(self._item(f"train-{n}", doc))
        if items:
            self._task.sampler = sampler
        return tuple(item for item in items if item.prompt not in eval_prompts)

    def _item(self, name: str, doc: Mapping[str, Any]) -> Item:
        asked = self._requests(doc)
        alone = next((c.text for c in asked.continuations if not c.prompt and c.prompt is not None), "")
        return Item(
            name,
            prompt=asked.prompt if asked.prompt.strip() else alone[:_SHOWN],
            target=target_of(self._task, doc),
            options=self._options(doc, asked),
            demonstrations=asked.demonstrations,
            system=asked.system,
            prefix=asked.prefix,
            continuations=() if self._as_options else asked.continuations,
        )

    def _options(self, doc: Mapping[str, Any], asked: DocumentRequests) -> tuple[str, ...]:
        """The options of multiple choice: as continuations of the rendered chat, or as the choices of the document."""
        if self._as_options:
            return tuple(continuation.text for continuation in asked.continuations)
        if self._task.OUTPUT_TYPE != "multiple_choice" or self._task.config.doc_to_choice is None:
            return ()
        return tuple(map(str, self._task.doc_to_choice(doc)))

    def _requests(self, doc: Mapping[str, Any]) -> DocumentRequests:
        """The requests of a document with its shots.

        Raises PluginError if more shots are asked for than there are documents to draw them from.
        """
        try:
            return requests_of(self._task, doc, self._shots)
        except (ValueError, AssertionError) as error:
            available = len(list(self._task.fewshot_docs()))
            if self._shots < available:
                raise
            raise PluginError(
                f"{self.name}: {self._shots} shots cannot be drawn from {available} documents, of which none is its own"
                f" shot. Ask for fewer with lm-eval:NAME@SHOTS, or correct num_fewshot or fewshot_split."
            ) from error

    def _doc(self, item: Item) -> Mapping[str, Any]:
        """The lm-eval document of an item."""
        split, _, number = item.id.rpartition("-")
        return self._docs["train" if split else "eval"][int(number)]


class _ExcludingSampler:
    """A sampler of shots that never draws the item's own document, because that would show its target."""

    def __init__(self, sampler: Any, doc: Mapping[str, Any]) -> None:
        self.sampler, self.doc = sampler, doc

    def sample(self, n: int, **_: Any) -> Any:
        return self.sampler.sample(n=n, eval_doc=self.doc)


def _has_one_prompt(asked: DocumentRequests) -> bool:
    """Whether all texts continue the one prompt of the document."""
    return all(continuation.prompt is None for continuation in asked.continuations)


def _needs_more(task: Any) -> bool:
    """Whether a multiple-choice task needs more than the log-probabilities of its options: greedy texts, or a prior."""
    own = task.config.process_results is None
    return own and any(metric in task._metric_fn_list for metric in ("exact_match", "acc_mutual_info"))
