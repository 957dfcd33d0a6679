"""Shared code of the generators for servers: chats as JSON, concurrent requests, failed responses, notes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread

from mipo_bench.harness.config.schema import ChatConfig
from mipo_bench.harness.core.redaction import redact_environment
from mipo_bench.harness.errors import ContextLostError, ModelError
from mipo_bench.harness.generators.chat_template import system_into_user
from mipo_bench.harness.protocols import Prompt, Request
from mipo_bench.harness.types import Decoding, Message, Response

CHOICE_TOKENS = 64
"""Token limit for a multiple-choice item whose answer is generated because there are no log-probabilities."""
MAX_CONSECUTIVE_FAILURES = 5
"""After this many failed requests in a row, the server gets no further requests; see `RequestSender` for refusals."""
TRIAL = (Message("user", "Hello"),)
"""The chat that shows whether a server refuses everything."""
TRIAL_DECODING = Decoding(16, 0.0)
CHARACTERS_PER_TOKEN = 4
"""The estimate of a token's length, used without a tokenizer."""


def chat_as_json(messages: Sequence[Message], context: str | None, chat: ChatConfig) -> Prompt:
    """A chat as JSON for a server that applies the chat template itself.

    Raises ContextLostError if no message contains `context`.
    """
    turns = system_into_user(messages) if chat.system_in_user else tuple(messages)
    if context and not any(context in message.content for message in turns):
        raise ContextLostError(f"the prompt lacks the user's context {context[:60]!r}")
    return Prompt(turns, json.dumps([{"role": m.role, "content": m.content} for m in turns], ensure_ascii=False))


@dataclass
class RequestSender:
    """Sends the requests of a run to one server, `workers` at a time.

    After MAX_CONSECUTIVE_FAILURES failures in a row all remaining requests fail without being sent. After as many
    refusals in a row with one cause, a short chat is tried (`trial` returns the problem, None if it is answered). If it
    is refused as well, the server refuses everything, and the remaining requests fail too; if the server has never
    answered, this ends the run.
    """

    ask: Callable[[Request], Response]
    workers: int
    trial: Callable[[], str | None]
    _answered: bool = field(default=False, init=False)
    _refusals: list[str] = field(default_factory=list, init=False)
    """The latest refusals in a row with one cause."""
    _tried: set[str] = field(default_factory=set, init=False)
    """Causes of refusals after which the short chat was answered."""

    def send(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """Send all requests. Yields (position, response) as soon as a response arrives.

        The threads are daemons, so a caller that closes the iterator, also by Ctrl-C, does not wait for pending
        requests. An exception of `ask` is raised in the caller's thread. Raises ModelError for a server that refuses
        everything.
        """
        waiting: SimpleQueue[tuple[int, Request]] = SimpleQueue()
        answers: SimpleQueue[tuple[int, Response | BaseException]] = SimpleQueue()
        for task in enumerate(requests):
            waiting.put(task)

        def work() -> None:
            while (task := _next(waiting)) is not None:
                try:
                    answers.put((task[0], self.ask(task[1])))
                except BaseException as error:  # noqa: BLE001 - `_received` raises it in the caller's thread
                    answers.put((task[0], error))

        for _ in range(min(self.workers, len(requests))):
            Thread(target=work, daemon=True).start()
        try:
            yield from self._until_lost(_received(answers, len(requests)), len(requests))
        finally:
            while _next(waiting) is not None:
                pass

    def _until_lost(self, answers: Iterator[tuple[int, Response]], count: int) -> Iterator[tuple[int, Response]]:
        """The answers; failed responses for the rest as soon as the server is lost."""
        left, failures = set(range(count)), 0
        for position, answer in answers:
            left.discard(position)
            failures = failures + 1 if answer.finish == "failed" else 0
            yield position, answer
            reason = self._refuses_everything(answer)
            if failures == MAX_CONSECUTIVE_FAILURES:
                reason = f"{failures} failures in a row, the last: {answer.text}"
            if reason:
                yield from ((i, failed(f"not asked after {reason}")) for i in sorted(left))
                return

    def _refuses_everything(self, answer: Response) -> str | None:
        """The cause if the server refuses everything since this answer; else None. Raises ModelError as `send` does."""
        if answer.finish != "refused":
            self._answered |= not answer.failed
            self._refusals = []
            return None
        self._refusals = [*(text for text in self._refusals if text == answer.text), answer.text]
        if len(self._refusals) < MAX_CONSECUTIVE_FAILURES or answer.text in self._tried:
            return None
        problem = self.trial()
        if problem is None:
            self._tried.add(answer.text)
            return None
        if not self._answered:
            raise ModelError(f"the server refuses every request, a short test chat too. {problem}")
        return f"{len(self._refusals)} refusals in a row, and of a short test chat too: {answer.text}"


def _next(waiting: SimpleQueue[tuple[int, Request]]) -> tuple[int, Request] | None:
    """The next request and its position; None if the queue is empty."""
    try:
        return waiting.get_nowait()
    except Empty:
        return None


def _received(answers: SimpleQueue[tuple[int, Response | BaseException]], count: int) -> Iterator[tuple[int, Response]]:
    """The next `count` answers of the threads. Raises the exception of a thread."""
    for _ in range(count):
        position, answer = answers.get()
        if isinstance(answer, BaseException):
            raise answer
        yield position, answer


def failed(reason: str) -> Response:
    """The response to a request that the server did not answer."""
    return Response(_cleaned(reason), 0, 0, "failed")


def refused(reason: str) -> Response:
    """The response to a request that the server rejected."""
    return Response(_cleaned(f"refused: {reason}"), 0, 0, "refused")


def _cleaned(reason: str) -> str:
    """One line of at most 300 characters, without API keys."""
    return " ".join(redact_environment(reason).split())[:300]


def estimated_tokens(text: str) -> int:
    """The estimated number of tokens of a text, rounded up."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def add_note(notes: list[str], text: str) -> None:
    """Add a note for the report, unless `notes` has it already."""
    if text not in notes:
        notes.append(text)


def template_note() -> str:
    """The report's note on a server that applies the chat template itself."""
    return "the server applies the chat template; it is unknown whether the model sees a system turn"


def estimate_note() -> str:
    """The report's note on estimated lengths."""
    return f"lengths are estimated if the server gives none: {CHARACTERS_PER_TOKEN} characters per token"


def generated_choice_note(backend: str) -> str:
    """The report's note on multiple-choice items without log-probabilities."""
    return (
        f"the backend {backend} gives no log-probabilities: the generated answer is matched with the options; its limit"
        f" is {CHOICE_TOKENS} tokens if the task generates none"
    )
