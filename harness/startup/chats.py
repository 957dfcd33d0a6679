"""Checks of a chat template and its tokenizer on one small chat: with and without a system turn, open and finished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mipo_bench.harness.config.schema import ChatConfig
from mipo_bench.harness.errors import ContextLostError
from mipo_bench.harness.generators.chat_template import apply_template, finished_chat, render
from mipo_bench.harness.generators.model_folder import configured_ends, vocabulary_size
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.generators.tokenizer import missing_end_token
from mipo_bench.harness.startup.findings import Finding
from mipo_bench.harness.types import Message

_USER, _SYSTEM = Message("user", "a short question"), Message("system", "the system text")
_ANSWER, _THOUGHT = "the answer", "a first thought"
_OPENED, _CLOSED = ("<think>", "[THINK]"), ("</think>", "[/THINK]")
_OFF = "--set chat.template.enable_thinking=false"


@dataclass(frozen=True)
class ChatChecks:
    """The checks of one model. `trains` says whether the run trains it, and so renders finished chats."""

    tokenizer: Any
    folder: Path
    placement: Placement
    trains: bool

    @property
    def chat(self) -> ChatConfig:
        """The settings of the chat template."""
        return self.placement.chat

    def findings(self) -> Iterator[Finding]:
        """Problems and notes. The checks after the first end where no chat can be rendered."""
        if problem := self._named_template():
            yield Finding("chat", "fail", problem)
            return
        try:
            text = apply_template(self.tokenizer, [_USER], self.chat).text
            render(self.tokenizer, [_SYSTEM, _USER], None, self.chat)
        except ContextLostError as error:
            yield Finding("chat", "fail", f"no chat can be rendered: {error}")
            return
        yield from (Finding("chat", "fail", problem) for problem in self._ids(text))
        yield from (Finding("chat", "warn", note) for note in self._ends())
        if self.trains:
            yield from (Finding("chat", "fail", problem) for problem in self._finished())
        elif self._thinks():
            yield Finding(
                "chat", "warn", f"the model thinks before it answers, within the same token limit: {self._off()}"
            )

    def _named_template(self) -> str | None:
        """The problem with the choice among several named templates."""
        templates = self.tokenizer.chat_template
        if not isinstance(templates, Mapping):
            return None
        chosen = self.chat.template.get("chat_template", "default")
        if chosen in templates:
            return None
        names = sorted(templates)
        return (
            f"the tokenizer has several chat templates, none of them called {chosen!r}: {', '.join(names)}. Choose one"
            f" with --set chat.template.chat_template={names[0]}."
        )

    def _ids(self, text: str) -> Iterator[str]:
        """The problems with the tokens of a rendered chat."""
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        read = str(self.tokenizer.decode(ids))
        if "".join(_USER.content.split()) not in "".join(read.split()).lower():
            yield (
                f"the tokenizer does not know plain text: {_USER.content!r} is read back as {read[:60]!r}. A file of it"
                f" (tokenizer.json, tokenizer.model) is missing in {self.folder}, or damaged."
            )
        size = vocabulary_size(self.folder)
        if ids and max(ids) >= size:
            token = self.tokenizer.convert_ids_to_tokens(max(ids))
            yield (
                f"the token {token!r} of the chat template has the number {max(ids)}, but the model has {size}"
                " embeddings: tokenizer and weights do not belong together."
            )

    def _ends(self) -> Iterator[str]:
        """Notes on the tokens that end a response."""
        if token := missing_end_token(self.tokenizer, self.folder, self.placement):
            yield (
                f"the chat template ends a turn with {token!r}, which the model's files do not name as an end token"
                " (eos_token_id): it ends responses here"
            )
            return
        ends = {*configured_ends(self.folder), self.tokenizer.eos_token_id} - {None}
        if not any(end < vocabulary_size(self.folder) for end in ends):
            yield "no end token is known: every response runs to its token limit"

    def _thinks(self) -> bool:
        """Whether the prompt opens a block of thoughts, or thinking can be switched off and is not."""
        text = apply_template(self.tokenizer, [_USER], self.chat).text.rstrip()
        return text.endswith(_OPENED) or (not text.endswith(_CLOSED) and self._can_be_off())

    def _can_be_off(self) -> bool:
        """Whether `enable_thinking=false` changes the prompt."""
        prompts = {
            apply_template(self.tokenizer, [_USER], chat).text for chat in (self.chat, _without_thoughts(self.chat))
        }
        return len(prompts) > 1

    def _off(self) -> str:
        room = "leave room with --set decoding.max_new_tokens=NUMBER"
        return f"switch it off with {_OFF}, or {room}" if self._can_be_off() else room

    def _finished(self) -> Iterator[str]:
        """The problem with finished chats, from which trainings are made."""
        problem = self._difference(self.chat)
        if problem is None:
            return
        off = _without_thoughts(self.chat)
        remedy = f"Give {_OFF}" if self._can_be_off() and self._difference(off) is None else "Take another model"
        yield (
            f"the chat template cannot be trained with: {problem}. A training would see other texts than the"
            f" evaluation. {remedy}, or train nothing: --recipes none."
        )

    def _difference(self, chat: ChatConfig) -> str | None:
        """How a finished chat differs from the prompt with the response; None if it does not."""
        try:
            prompt = apply_template(self.tokenizer, [_USER], chat).text
            whole = finished_chat(self.tokenizer, [_USER, Message("assistant", _ANSWER)], chat)
            thought = Message("assistant", f"<think>\n{_THOUGHT}\n</think>\n\n{_ANSWER}")
            drops = _THOUGHT not in finished_chat(self.tokenizer, [_USER, thought], chat)
        except ContextLostError as error:
            return str(error)
        if drops and not prompt.rstrip().endswith(_CLOSED):
            return "it drops the thoughts of a finished chat"
        if not whole.startswith(prompt):
            return "it renders the prompt of a finished chat otherwise than an open one"
        rest = whole.removeprefix(prompt).lstrip()
        return None if rest.startswith(_ANSWER) else f"it adds {rest.partition(_ANSWER)[0]!r} before a response"


def _without_thoughts(chat: ChatConfig) -> ChatConfig:
    return chat.model_copy(update={"template": {**chat.template, "enable_thinking": False}})
