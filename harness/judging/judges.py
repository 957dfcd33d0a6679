"""Judges that read responses: the task's own rules, a model, a server. Files of verdicts are in `judge_file`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.harness.generators.chat_client import Chat, ChatServer, Refused
from mipo_bench.harness.judging.prompt import PROMPTS, judge_messages, read_verdict
from mipo_bench.harness.protocols import Generator, Question, Request, Verdict
from mipo_bench.harness.types import Decoding, Item, Response, Task

RETRY_TEMPERATURE = 0.1
"""A greedy judge would say the same again: its one retry is sampled."""
Ask = Callable[[Sequence[Chat], Decoding], Iterator[tuple[int, str]]]
"""Completes chats: (position, text), each as soon as it is there, in any order."""


@dataclass(frozen=True)
class RuleJudge:
    """The task's own score decides: the higher one wins. Nothing is asked, so nothing needs to be stored."""

    task: Task
    digest: str
    name: str = "rules"

    def decide(self, questions: Sequence[Question]) -> Iterator[tuple[int, Verdict]]:
        """See `Judge`. A rating is the score, rounded to a quarter."""
        for position, question in enumerate(questions):
            try:
                yield position, Verdict(self._decide(question))
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything; it becomes a counted verdict
                yield position, Verdict(None, f"{type(error).__name__}: {error}")

    def _decide(self, q: Question) -> float:
        first = self._score(q.item, q.first)
        if q.second is None:
            return round(4 * first) / 4
        second = self._score(q.item, q.second)
        return 0.5 if first == second else float(first > second)

    def _score(self, item: Item, text: str) -> float:
        return self.task.score(item, Response(text, 0, len(text.split()), "stop")).value


@dataclass(frozen=True)
class ModelJudge:
    """A chat model. An answer without a verdict is asked for once more under another seed."""

    name: str
    digest: str
    ask: Ask
    decoding: Decoding
    control: tuple[str, ...] = ()
    """The tokenizer's control tokens, which no judged text may smuggle in."""

    def decide(self, questions: Sequence[Question]) -> Iterator[tuple[int, Verdict]]:
        """See `Judge`."""
        unread: list[int] = []
        for position, verdict in self._try(questions, range(len(questions)), 1):
            if verdict.value is None:
                unread.append(position)
            else:
                yield position, verdict
        if unread:
            yield from self._try(questions, sorted(unread), 2)

    def _try(
        self, questions: Sequence[Question], positions: Sequence[int], tries: int
    ) -> Iterator[tuple[int, Verdict]]:
        chats = []
        for i in positions:
            messages = judge_messages(questions[i], self.control)
            chats.append(Chat(messages, seed_of("judge", messages, questions[i].repeat, tries)))
        decoding = self.decoding
        if tries > 1 and decoding.temperature == 0:
            decoding = replace(decoding, temperature=RETRY_TEMPERATURE)
        for n, text in self.ask(chats, decoding):
            i = positions[n]
            yield i, Verdict(read_verdict(text, rating=questions[i].second is None), text, tries)


def generator_judge(name: str, generator: Generator, decoding: Decoding, control: Sequence[str] = ()) -> ModelJudge:
    """A judge on a model that is loaded here."""

    def ask(chats: Sequence[Chat], decoding: Decoding) -> Iterator[tuple[int, str]]:
        requests = [Request(generator.render(c.messages, None).text, c.seed, decoding) for c in chats]
        for position, response in generator.generate(requests):
            yield position, response.text

    return ModelJudge(name, _digest(generator.digest, decoding), ask, decoding, tuple(control))


def server_judge(server: ChatServer, decoding: Decoding, workers: int) -> ModelJudge:
    """A judge behind a server. What the server refuses is an answer without a verdict."""

    def ask(chats: Sequence[Chat], decoding: Decoding) -> Iterator[tuple[int, str]]:
        for position, found in server.complete(chats, decoding, workers):
            yield position, f"refused: {found.reason}" if isinstance(found, Refused) else found.text

    return ModelJudge(server.model, _digest(f"{server.model} at {server.url}", decoding), ask, decoding)


def _digest(model: str, decoding: Decoding) -> str:
    """Everything in the judge that can change a verdict; the question is hashed beside it."""
    return digest(["judge", PROMPTS, model, decoding.temperature, decoding.top_p, decoding.max_new_tokens])
