"""Any task of lm-eval (EleutherAI's evaluation harness), by name or as a YAML file, with its prompts and metrics.

    --task lm-eval:arc_easy            a built-in task
    --task lm-eval:arc_easy@5          with five shots instead of the number that the task asks for
    --task lm-eval:tasks/mine.yaml     a task file; functions that it names run with your rights

The prompt is what lm-eval makes of the document with `apply_chat_template` and `fewshot_as_multiturn` (what its command
line does): the description as system turn, the shots as earlier turns, drawn with lm-eval's seed, in its order. Options
are scored by their log-probability, generated texts go through the task's filters, and the score of an item is what
`process_results` of lm-eval says, so that the figures are lm-eval's figures. The score is the first metric that is an
average over items, lies in [0, 1] and is better when higher; the others stand beside it.

Training items are the task's training split without documents that are asked in the evaluation too. A task without
one, or one that begins the response for the model (`gen_prefix`), has none, and recipes do not apply to it.
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
_REST = re.compile(r"(?P<name>.+?)(?:@(?P<at>\d+)|-(?P<shots>\d+)shot)?")
"""The name of a task in a report ends in `-5shot`, and is understood as well."""


class LMEvalTask:
    """One task of lm-eval. Loading it reads its data, from the network where they are not in the cache."""

    reasoning = False

    def __init__(self, rest: str) -> None:
        """`rest` is NAME or PATH.yaml, with `@SHOTS` after it where the number of shots is not the task's own.

        Raises PluginError for what is unknown, broken, out of reach, or scored by nothing that an item has.
        """
        found = _REST.fullmatch(rest)
        if found is None:
            raise PluginError("lm-eval: what? Write lm-eval:NAME or lm-eval:PATH.yaml.")
        name, shots = found.group("name"), found.group("at") or found.group("shots")
        file = Path(name) if name.endswith((".yaml", ".yml")) else index.find_task_file(name)
        self._task = index.load_task(file, f"lm-eval:{rest}")
        own = self._task.config.num_fewshot or 0
        self._shots = own if shots is None else int(shots)
        plain = re.sub(r"[^\w.-]", "-", str(self._task.config.task))
        self.name = f"lm-eval:{plain}" + (f"-{self._shots}shot" if self._shots != own else "")
        self._metrics = Metrics(self._task, self.name)
        self._generates = self._task.OUTPUT_TYPE == "generate_until"
        self.suite: Suite = "math" if self._generates else "choice"
        self.version = int(float(str(self._task.VERSION))) if re.fullmatch(r"[\d.]+", str(self._task.VERSION)) else 0
        self.description = f"lm-eval task {self._task.config.task}, {self._metrics.described}"
        self.binary = self._metrics.binary
        self.reference = "few-shot" if self._shots else "plain"
        self.decoding = self._decoding()
        self.max_new_tokens = self.decoding.max_new_tokens or 64
        self.definition = self._metrics.definition

    def items(self, split: Split) -> Sequence[Item]:
        """The documents that lm-eval evaluates, or those of the training split; in lm-eval's order."""
        return self._eval_items if split == "eval" else self._train_items

    def score(self, item: Item, response: Response) -> Score:
        """What lm-eval's `process_results` says of the response, after each of the task's filters."""
        return self._metrics.score(self._doc(item), item, response)

    def gold(self, item: Item) -> str:
        """The target."""
        return item.target

    def wrong(self, item: Item) -> str:
        """Another option, or no answer at all."""
        others = [option for option in item.options if option != item.target]
        return others[0] if others else "no answer"

    def _decoding(self) -> Decoding:
        if not self._generates:
            return Decoding(0, 0.0)
        wanted = dict(self._task.config.generation_kwargs)
        limits = (wanted.get(n) for n in ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"))
        until = wanted.get("until") or []
        sampled = wanted.get("do_sample") is not False
        return Decoding(
            max_new_tokens=int(next((n for n in limits if n is not None), _MAX_NEW_TOKENS)),
            temperature=float(wanted.get("temperature", 0.0)) if sampled else 0.0,
            top_p=float(wanted.get("top_p", 1.0)),
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
        asked = {item.prompt for item in self._eval_items}
        self._task.set_fewshot_seed(SHOT_SEED)
        sampler = self._task.sampler
        items = []
        for n, doc in enumerate(self._docs["train"]):
            self._task.sampler = _Without(sampler, doc)
            items.append(self._item(f"train-{n}", doc))
        self._task.sampler = sampler
        return tuple(item for item in items if item.prompt not in asked)

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
        """The chat that lm-eval would hand to the chat template."""
        caught: list[dict[str, str]] = []

        def template(messages: Sequence[dict[str, str]], **_: bool) -> str:
            caught.extend(messages)
            return ""

        self._task.fewshot_context(
            doc,
            num_fewshot=self._shots,
            apply_chat_template=True,
            fewshot_as_multiturn=True,
            chat_template=template,
            gen_prefix=self._task.doc_to_prefix(doc),
        )
        return caught

    def _doc(self, item: Item) -> Mapping[str, Any]:
        split, _, number = item.id.rpartition("-")
        return self._docs["train" if split else "eval"][int(number)]


class _Without:
    """A sampler of shots that never draws one document: the one that is asked, whose target it would give away."""

    def __init__(self, sampler: Any, doc: Mapping[str, Any]) -> None:
        self.sampler, self.doc = sampler, doc

    def sample(self, n: int, **_: Any) -> Any:
        return self.sampler.sample(n=n, eval_doc=self.doc)
