"""A document's requests to a model, as lm-eval's own code makes them: chats, texts to score, texts to generate."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipo_bench.harness.types import Continuation, Demonstration

Chat = list[dict[str, str]]
_MARK = "\x00chat {}\x00"
"""Stands for a rendered chat in lm-eval's requests."""
_MARKED = re.compile(r"\x00chat (\d+)\x00")


@dataclass(frozen=True, slots=True)
class DocumentRequests:
    """The chats of a document, one unless its options are contexts, and lm-eval's requests in their order."""

    chats: Sequence[Chat]
    instances: Sequence[Any]

    @property
    def prompt(self) -> str:
        """The last turn of the user in the first chat."""
        return next(m["content"] for m in reversed(self.chats[0]) if m["role"] == "user")

    @property
    def demonstrations(self) -> tuple[Demonstration, ...]:
        """The turns before it. A shot that has its answer in the turn of the user has no response."""
        earlier: list[list[str]] = []
        for message in self.chats[0]:
            if message["role"] == "user":
                earlier.append([message["content"], ""])
            elif message["role"] == "assistant":
                earlier[-1][1] = message["content"]
        return tuple(Demonstration(prompt, response) for prompt, response in earlier[:-1])

    @property
    def system(self) -> str | None:
        """The system turn of the chats."""
        first = self.chats[0][0]
        return first["content"] if first["role"] == "system" else None

    @property
    def prefix(self) -> str:
        """The beginning of the response."""
        last = self.chats[0][-1]
        return last["content"] if last["role"] == "assistant" else ""

    @property
    def generated(self) -> list[Any]:
        """The requests for a generated text."""
        return [one for one in self.instances if one.request_type == "generate_until"]

    @property
    def scored(self) -> list[Any]:
        """The requests for the log-probability of a text."""
        return [one for one in self.instances if one.request_type != "generate_until"]

    @property
    def continuations(self) -> tuple[Continuation, ...]:
        """The texts of these, each with its own prompt where there are several chats."""
        return tuple(self._continuation(one) for one in self.scored)

    def _continuation(self, instance: Any) -> Continuation:
        if instance.request_type == "loglikelihood_rolling":
            return Continuation(instance.arguments[0], "")
        context, text = instance.arguments[:2]
        found = _MARKED.fullmatch(context)
        if found is None:
            return Continuation(text, context)
        if len(self.chats) == 1:
            return Continuation(text)
        return Continuation(text, [m["content"] for m in self.chats[int(found[1])] if m["role"] == "user"][-1])


def requests_of(task: Any, doc: Mapping[str, Any], shots: int = 0) -> DocumentRequests:
    """The requests of a document, as lm-eval's `build_all_requests` makes them with a chat template.

    A task class whose prompt takes no chat template gives a text; it becomes the turn of the user.
    """
    chats: list[Chat] = []

    def template(messages: Sequence[dict[str, str]], **_: bool) -> str:
        chats.append([dict(message) for message in messages])
        return _MARK.format(len(chats) - 1)

    context = task.fewshot_context(
        doc,
        num_fewshot=shots,
        system_instruction=None,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        chat_template=template,
        gen_prefix=task.doc_to_prefix(doc),
    )
    if not chats and isinstance(context, str):
        context = template([{"role": "user", "content": context}])
    made = task.construct_requests(
        doc=doc,
        ctx=context,
        metadata=(task.config.task, 0, task.config.repeats),
        apply_chat_template=True,
        chat_template=template,
    )
    return DocumentRequests(chats, sorted(made if isinstance(made, list) else [made], key=lambda one: one.idx))
