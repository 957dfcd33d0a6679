"""Checks of a plan's prompts: whether they fit into the model's window, and whether the model knows their tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.evaluation.failures import recorded
from mipo_bench.harness.generators.chat_template import framed, render
from mipo_bench.harness.planning.plan import Plan, TaskPlan
from mipo_bench.harness.startup.findings import Finding
from mipo_bench.harness.types import Baseline, Item, Message


@dataclass(frozen=True, slots=True)
class _Chat:
    """The chat of one item, before it is rendered, with its context if it is shown."""

    item: Item
    messages: tuple[Message, ...]
    context: str | None

    @property
    def characters(self) -> int:
        """The length of its texts."""
        return sum(len(message.content) for message in self.messages)


def prompt_findings(plan: Plan, config: RunConfig, tokenizer: Any, settings: Any) -> Iterator[Finding]:
    """Problems and notes on the prompts of every arm of the base model. `settings` is transformers' configuration.

    Only the longest prompt of an arm, in characters, is rendered; all are if it does not fit.
    """
    windows = [getattr(settings, "max_position_embeddings", None), config.max_length]
    window = min((size for size in windows if isinstance(size, int) and size > 0), default=None)
    unknown = [text for text, number in tokenizer.get_added_vocab().items() if number >= settings.vocab_size]

    def count(chat: _Chat) -> int:
        text = render(tokenizer, chat.messages, chat.context, config.chat).text
        return len(tokenizer.encode(text, add_special_tokens=False))

    for task, name, chats in prompted(plan):
        where = f"{task.task.name} {name}"
        if window is not None:
            yield from _window(where, chats, _Room(window, task.decoding.max_new_tokens, config.overflow), count)
        yield from _unknown_tokens(where, chats, unknown)


def prompted(plan: Plan) -> Iterator[tuple[TaskPlan, str, list[_Chat]]]:
    """Each task with each of its prompting baselines, and the chats of its items."""
    for task in plan.tasks:
        for name in dict.fromkeys(arm.baseline for arm in plan.arms_of(task.task.name, trained=False)):
            yield task, name, _chats(task, plan.baselines[name])


def _chats(task: TaskPlan, baseline: Baseline) -> list[_Chat]:
    """The chats of an arm. An item whose chat fails is left out: its arm meets the error again and reports it."""
    chats: list[_Chat] = []
    for item in task.items:
        with recorded(lambda _: None):
            context = item.context if baseline.uses_context else None
            chats.append(_Chat(item, framed(baseline.messages(item), item), context))
    return chats


@dataclass(frozen=True, slots=True)
class _Room:
    """The model's window and the limit of a response, both in tokens, and the share of prompts that may be too long."""

    window: int
    new: int
    allowed: float


def _window(where: str, chats: Sequence[_Chat], room: _Room, count: Callable[[_Chat], int]) -> Iterator[Finding]:
    """A finding where prompts leave no room for a response."""
    if not chats or _tokens(count, max(chats, key=lambda chat: chat.characters)) + room.new <= room.window:
        return
    lengths = [_tokens(count, chat) for chat in chats]
    too_long = sum(length + room.new > room.window for length in lengths)
    text = (
        f"{where}: {too_long} of {len(chats)} prompts (the longest has {max(lengths)} tokens) leave no room"
        f" for {room.new} new tokens in the window of {room.window} tokens"
    )
    if too_long > room.allowed * len(chats):
        remedy = (
            ". Lower --set decoding.max_new_tokens, take a model with a longer window, leave the arm out (--baselines"
            " NAMES), or accept a larger share with --set overflow."
        )
        yield Finding("window", "fail", text + remedy)
    elif too_long:
        yield Finding("window", "warn", f"{text}: they score 0")


def _tokens(count: Callable[[_Chat], int], chat: _Chat) -> int:
    """The tokens of a prompt; 0 for one that cannot be rendered, which its arm reports."""
    lengths = [0]
    with recorded(lambda _: None):
        lengths.append(count(chat))
    return max(lengths)


def _unknown_tokens(where: str, chats: Sequence[_Chat], unknown: Sequence[str]) -> Iterator[Finding]:
    """A finding where a prompt holds the text of a token that has no embedding."""
    texts = ((chat, token) for chat in chats for token in unknown if any(token in m.content for m in chat.messages))
    for chat, token in texts:
        yield Finding(
            "chat",
            "fail",
            f"{where}: the prompt of item {chat.item.id!r} holds {token!r}, a token of the tokenizer for which the"
            " model has no embedding. Take the tokenizer that belongs to the weights.",
        )
        return
