"""Judges: the task's own rules, a model, a server, or a file of verdicts; all behind the `Judge` protocol of `types`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.judge_prompts import PROMPTS, judge_messages, read_verdict
from mipo_bench.harness.openai_client import Chat, ChatServer, Refused
from mipo_bench.harness.pairs import seed_of
from mipo_bench.harness.provenance import digest
from mipo_bench.harness.types import Decoding, Generator, Item, Question, Request, Response, Task, Verdict

Kind = Literal["rules", "model", "server", "file"]
RETRY_TEMPERATURE = 0.1
"""A greedy judge would say the same again: its one retry is sampled."""
Ask = Callable[[Sequence[Chat], Decoding], Iterator[tuple[int, str]]]
"""Completes chats: (position, text), each as soon as it is there, in any order."""


@dataclass(frozen=True)
class RuleJudge:
    """The task's own score decides: the higher one wins. Nothing is asked, so nothing needs to be stored."""

    task: Task
    name: str = "rules"

    @property
    def digest(self) -> str:
        """The scorer's source is hashed with the task; this names the rest."""
        return digest(["judge-rules", self.task.name, self.task.version])

    def decide(self, questions: Sequence[Question]) -> Iterator[tuple[int, Verdict]]:
        """See `Judge`. A rating is the score, rounded to a quarter."""
        for position, q in enumerate(questions):
            first = self._score(q.item, q.first)
            if q.second is None:
                yield position, Verdict(round(4 * first) / 4)
            else:
                second = self._score(q.item, q.second)
                yield position, Verdict(0.5 if first == second else float(first > second))

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


@dataclass(frozen=True)
class FileJudge:
    """Verdicts that people gave, or an earlier judge: looked up by request, profile and responses.

    One line of JSON for each: {"prompt", "context", "a", "b", "label": "a" | "b" | "tie"} for a comparison, whichever
    order it is asked in, or {"prompt", "context", "a", "rating": 1 to 5}. What is not in the file has no verdict.
    """

    name: str
    digest: str
    verdicts: Mapping[tuple[str, ...], float]

    def decide(self, questions: Sequence[Question]) -> Iterator[tuple[int, Verdict]]:
        """See `Judge`."""
        for position, q in enumerate(questions):
            found = self.verdicts.get(_place(q.item.prompt, q.item.context, q.first, q.second))
            yield position, Verdict(found, "" if found is not None else "not in the file")


LABELS = {"a": 1.0, "tie": 0.5, "b": 0.0}


@dataclass(frozen=True, slots=True)
class Labelled:
    """A labelled comparison: `value` is 1 where `a` is better, 0 where `b` is, 1/2 for a tie."""

    prompt: str
    context: str | None
    a: str
    b: str
    value: float


def file_judge(path: Path) -> FileJudge:
    """Read a file of verdicts. Raises ConfigError naming the first bad line, or two lines that contradict each other."""
    verdicts: dict[tuple[str, ...], float] = {}
    for number, row in read_rows(path):
        if "rating" in row:
            found = {_place(row["prompt"], row.get("context"), row["a"], None): (_rating(path, number, row) - 1) / 4}
        else:
            label = labelled(path, number, row)
            found = {_place(label.prompt, label.context, label.a, label.b): label.value}
            found[_place(label.prompt, label.context, label.b, label.a)] = 1 - label.value
        for place, value in found.items():
            if verdicts.setdefault(place, value) != value:
                raise ConfigError(f"{path}, line {number}: another line gives another verdict on the same responses.")
    content = digest(part for place in sorted(verdicts) for part in (*place, verdicts[place]))
    return FileJudge(path.name, digest(["judge-file", content]), verdicts)


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file with their line numbers. Raises ConfigError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the file of verdicts {path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"{path}, line {number} is no JSON: {error}") from error
        texts = ("prompt", "a") if isinstance(row, dict) and "rating" in row else ("prompt", "a", "b")
        wrong = not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in texts)
        if wrong or not isinstance(row.get("context") or "", str):
            raise ConfigError(
                f'{path}, line {number}: every line is an object with the texts "prompt", "context" (may be left out), '
                '"a", "b" and "label", or "prompt", "context", "a" and "rating".'
            )
        yield number, row


def labelled(path: Path, number: int, row: Mapping[str, Any]) -> Labelled:
    """The comparison in a row. Raises ConfigError for an unknown label."""
    label = str(row.get("label")).strip().lower()
    if label not in LABELS:
        raise ConfigError(f"{path}, line {number}: label is {row.get('label')!r}; allowed are a, b and tie.")
    return Labelled(row["prompt"], row.get("context"), row["a"], row["b"], LABELS[label])


def _rating(path: Path, number: int, row: Mapping[str, Any]) -> int:
    rating = row["rating"]
    if isinstance(rating, bool) or rating not in (1, 2, 3, 4, 5):
        raise ConfigError(f"{path}, line {number}: rating is {rating!r}; allowed are whole numbers from 1 to 5.")
    return int(rating)


def _place(prompt: str, context: str | None, first: str, second: str | None) -> tuple[str, ...]:
    texts = (prompt, context or "", first, *(() if second is None else (second,)))
    return tuple(text.strip() for text in texts)
