"""Tasks of lm-eval (EleutherAI's evaluation harness) with lm-eval's prompts and metrics.

    --task lm-eval:arc_easy            a built-in task
    --task lm-eval:arc_easy@5          the same task with five shots instead of its own number
    --task lm-eval:tasks/mine.yaml     a task file; functions that it names run with your rights

Prompts are those of lm-eval's command line with `apply_chat_template` and `fewshot_as_multiturn`: the description is
the system turn, and the shots are earlier turns, drawn with lm-eval's seed and in its order. Options are scored by
log-probability. Generated texts pass through the task's filters. lm-eval's `process_results` computes the figures of
each item, so they equal lm-eval's. The score is the first metric that is a mean over items, lies in [0, 1] and is
better when higher; the other metrics are reported as its parts.

Training items come from the task's training split, without documents whose prompt is also in the evaluation. A task
without that split has no training items, nor has a task with `gen_prefix` (the beginning of the response). Recipes do
not apply to a task without training items.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mipo_bench.harness.errors import PluginError
from mipo_bench.harness.types import Decoding, Demonstration, Item, Response, Score, Split, Suite
from mipo_bench.tasks.lm_eval import index
from mipo_bench.tasks.lm_eval.metrics import Metrics, options_of, target_of

SHOT_SEED = 1234
"""lm-eval's default `fewshot_random_seed`."""
_MAX_NEW_TOKENS = 256
"""lm-eval's default `max_gen_toks`."""
_NAME_AND_SHOTS = re.compile(r"(?P<name>.+?)(?:@(?P<at>\d+)|-(?P<shots>\d+)shot)?")
"""`NAME@5`, or `NAME-5shot` as reports write it."""


class LMEvalTask:
    """One task of lm-eval. Loading it reads its data, which are downloaded unless they are in the cache."""

    reasoning = False

    def __init__(self, rest: str) -> None:
        """`rest` is NAME or PATH.yaml. An `@SHOTS` after it replaces the task's own number of shots.

        Raises PluginError for a task that is unknown or malformed, whose data cannot be read, or that has no metric for
        single items.
        """
        found = _NAME_AND_SHOTS.fullmatch(rest)
        if found is None:
            raise PluginError("lm-eval: the name of the task is missing. Write lm-eval:NAME or lm-eval:PATH.yaml.")
        name, shots = found.group("name"), found.group("at") or found.group("shots")
        own_file = index.is_task_file(name)
        file = Path(name).expanduser() if own_file else index.find_task_file(name)
        self._task = index.load_task(file, f"lm-eval:{rest}")
        own = self._task.config.num_fewshot or 0
        self._shots = own if shots is None else int(shots)
        plain = re.sub(r"[^\w.-]", "-", str(self._task.config.task))
        self.name = f"lm-eval:{plain}" + (f"-{self._shots}shot" if self._shots != own else "")
        self._metrics = Metrics(self._task, self.name)
        self._generates = self._task.OUTPUT_TYPE == "generate_until"
        self.suite: Suite = "math" if self._generates else "choice"
        self.version = int(float(str(self._task.VERSION))) if re.fullmatch(r"[\d.]+", str(self._task.VERSION)) else 0
        source = f" from {file.name}" if own_file else ""
        self.description = f"lm-eval task {self._task.config.task}{source}, {self._metrics.description}"
        self.binary = self._metrics.binary
        self.reference = "few-shot" if self._shots else "plain"
        self.decoding = self._decoding()
        self.max_new_tokens = self.decoding.max_new_tokens or 64
        self.definition = self._metrics.definition

    def items(self, split: Split) -> Sequence[Item]:
        """The items of lm-eval's evaluation documents or of its training split, in lm-eval's order."""
        return self._eval_items if split == "eval" else self._train_items

    def score(self, item: Item, response: Response) -> Score:
        """The result of lm-eval's `process_results` for the response, after each of the task's filters."""
        return self._metrics.score(self._doc(item), item, response)

    def filtered(self, item: Item, response: Response) -> Mapping[str, str]:
        """Filter -> the text that it reads from a generated response; empty for a task that scores options."""
        return self._metrics.filtered(self._doc(item), response) if self._generates else {}

    def gold(self, item: Item) -> str:
        """The target."""
        return item.target

    def wrong(self, item: Item) -> str:
        """Another option; in a task without options, a text without an answer."""
        others = [option for option in item.options if option != item.target]
        return others[0] if others else "no answer"

    def _decoding(self) -> Decoding:
        """The decoding that the task's `generation_kwargs` ask for, with lm-eval's defaults."""
        if not self._generates:
            return Decoding(0, 0.0)
        kwargs = dict(self._task.config.generation_kwargs)
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
        trains = self._task.has_training_docs() and not self._task.config.gen_prefix
        return {"eval": list(self._task.eval_docs), "train": list(self._task.training_docs()) if trains else []}

    @cached_property
    def _eval_items(self) -> tuple[Item, ...]:
        self._task.set_fewshot_seed(SHOT_SEED)
        return tuple(self._item(str(n), doc) for n, doc in enumerate(self._docs["eval"]))

    @cached_property
    def _train_items(self) -> tuple[Item, ...]:
        eval_prompts = {item.prompt for item in self._eval_items}
        self._task.set_fewshot_seed(SHOT_SEED)
        sampler = self._task.sampler
        items = []
        for n, doc in enumerate(self._docs["train"]):
            self._task.sampler = _ExcludingSampler(sampler, doc)
            items.append(self._item(f"train-{n}", doc))
        self._task.sampler = sampler
        return tuple(item for item in items if item.prompt not in eval_prompts)

    def _item(self, name: str, doc: Mapping[str, Any]) -> Item:
        chat = self._chat(doc)
        system = chat.pop(0)["content"] if chat[0]["role"] == "system" else None
        prefix = chat.pop()["content"] if chat[-1]["role"] == "assistant" else ""
        turns = [m["content"] for m in chat]
        return Item(
            name,
            prompt=turns[-1],
            target=target_of(self._task, doc),
            options=() if self._generates else options_of(self._task, doc),
            demonstrations=tuple(Demonstration(q, a) for q, a in zip(turns[:-1:2], turns[1::2], strict=True)),
            system=system,
            prefix=prefix,
        )

    def _chat(self, doc: Mapping[str, Any]) -> list[dict[str, str]]:
        """The messages that lm-eval passes to the chat template.

        Raises PluginError if more shots are asked for than there are documents to draw them from.
        """
        chat: list[dict[str, str]] = []

        def template(messages: Sequence[dict[str, str]], **_: bool) -> str:
            chat.extend(messages)
            return ""

        try:
            self._task.fewshot_context(
                doc,
                num_fewshot=self._shots,
                apply_chat_template=True,
                fewshot_as_multiturn=True,
                chat_template=template,
                gen_prefix=self._task.doc_to_prefix(doc),
            )
        except (ValueError, AssertionError) as error:
            available = len(list(self._task.fewshot_docs()))
            if self._shots < available:
                raise
            raise PluginError(
                f"{self.name}: {self._shots} shots cannot be drawn from {available} documents, of which none is its own"
                f" shot. Ask for fewer with lm-eval:NAME@SHOTS, or correct num_fewshot or fewshot_split."
            ) from error
        return chat

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
