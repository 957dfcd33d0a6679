"""What all models behind a server have in common: chats they render themselves, answers that do not come."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from threading import Thread

from mipo_bench.harness.config.schema import ChatConfig
from mipo_bench.harness.core.redaction import without_keys
from mipo_bench.harness.errors import ContextLostError
from mipo_bench.harness.generators.chat_template import system_into_user
from mipo_bench.harness.protocols import Prompt, Request
from mipo_bench.harness.types import Message, Response

CHOICE_TOKENS = 64
"""What an engine without log-probabilities may say to a question whose options were to be compared."""
LOST_STREAK = 5
"""Requests in a row without an answer, after which a server is asked no more."""
_CHARACTERS_PER_TOKEN = 4


def unrendered(messages: Sequence[Message], context: str | None, chat: ChatConfig) -> Prompt:
    """A chat that the server renders itself, written as JSON. Raises ContextLostError where the context is missing."""
    turns = system_into_user(messages) if chat.system_in_user else tuple(messages)
    if context and not any(context in message.content for message in turns):
        raise ContextLostError(f"the prompt lacks the user's context {context[:60]!r}")
    return Prompt(turns, json.dumps([{"role": m.role, "content": m.content} for m in turns], ensure_ascii=False))


def in_threads(
    ask: Callable[[Request], Response], requests: Sequence[Request], workers: int
) -> Iterator[tuple[int, Response]]:
    """Ask for every request, `workers` at a time: (position, answer), each as soon as it is there.

    After several failures in a row the server is taken for gone, and all that is left has failed. Whoever stops
    listening, by Ctrl-C too, waits for no request that is still out.
    """
    waiting: SimpleQueue[tuple[int, Request]] = SimpleQueue()
    answers: SimpleQueue[tuple[int, Response | BaseException]] = SimpleQueue()
    for task in enumerate(requests):
        waiting.put(task)

    def work() -> None:
        while (task := _next(waiting)) is not None:
            try:
                answers.put((task[0], ask(task[1])))
            except BaseException as error:  # noqa: BLE001 - raised again where the answers are awaited
                answers.put((task[0], error))

    for _ in range(min(workers, len(requests))):
        Thread(target=work, daemon=True).start()
    try:
        yield from _unless_lost(_received(answers, len(requests)), len(requests))
    finally:
        while _next(waiting) is not None:
            pass


def _next(waiting: SimpleQueue[tuple[int, Request]]) -> tuple[int, Request] | None:
    try:
        return waiting.get_nowait()
    except Empty:
        return None


def _received(answers: SimpleQueue[tuple[int, Response | BaseException]], count: int) -> Iterator[tuple[int, Response]]:
    for _ in range(count):
        position, answer = answers.get()
        if isinstance(answer, BaseException):
            raise answer
        yield position, answer


def failed(reason: str) -> Response:
    """The answer that is none."""
    return Response(" ".join(without_keys(reason).split())[:300], 0, 0, "failed")


def estimated_tokens(text: str) -> int:
    """The length of a text in tokens, where only the server has the tokenizer."""
    return -(-len(text) // _CHARACTERS_PER_TOKEN)


def template_note() -> str:
    """What a report on a model that renders its own chats must say."""
    return "the server applies the chat template: whether it shows a system turn to the model is not known here"


def estimate_note() -> str:
    """What a report with estimated lengths must say."""
    return f"lengths are estimated where the server gives none: {_CHARACTERS_PER_TOKEN} characters a token"


def spoken_note(backend: str) -> str:
    """What a report on a model without log-probabilities must say."""
    return (
        f"the backend {backend} gives no log-probabilities: options are matched with the generated answer, of"
        f" {CHOICE_TOKENS} tokens at most where the task generates none"
    )


def _unless_lost(answers: Iterator[tuple[int, Response]], count: int) -> Iterator[tuple[int, Response]]:
    left, lost = set(range(count)), 0
    for position, answer in answers:
        left.discard(position)
        lost = lost + 1 if answer.finish == "failed" else 0
        yield position, answer
        if lost == LOST_STREAK:
            reason = f"not asked after {lost} failures in a row, the last: {answer.text}"
            yield from ((i, failed(reason)) for i in sorted(left))
            return
