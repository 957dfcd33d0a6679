"""Judges that read responses: the task's own rules (`RuleJudge`) and chat models (`ModelJudge`).

`assign` makes them for a run. `verdict_file.FileJudge` is the third kind: it looks up verdicts in a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.harness.errors import ServerError
from mipo_bench.harness.judging.prompt import JUDGE_PROMPT_VERSION, judge_messages, read_answer
from mipo_bench.harness.protocols import Generator, Question, Request, Verdict
from mipo_bench.harness.types import Decoding, Item, Response, Task
from mipo_bench.tasks.reading.thoughts import THOUGHT_TAGS, ThoughtTag, without_thoughts

RETRY_TEMPERATURE = 0.1
"""Temperature of a greedy judge's second try: greedy decoding would repeat the first answer."""


@dataclass(frozen=True)
class RuleJudge:
    """The response with the higher score of the task wins. No model is asked, so nothing is stored."""

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
    """A chat model, in this process or behind a server.

    A question is asked once more, under another seed, if the answer holds no readable verdict. A request that a server
    refuses has no verdict either.
    """

    name: str
    digest: str
    generator: Generator
    decoding: Decoding
    control: tuple[str, ...] = ()
    """The tokenizer's control tokens, which judged texts must not contain."""
    thought_tags: Sequence[ThoughtTag] = THOUGHT_TAGS

    def decide(self, questions: Sequence[Question]) -> Iterator[tuple[int, Verdict]]:
        """See `Judge`. Raises ServerError if a server stops answering, after the verdicts that it gave before."""
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
        requests = [self._request(questions[i], tries) for i in positions]
        for n, response in self.generator.generate(requests):
            if response.finish == "failed":
                raise ServerError(response.text)
            i, text = positions[n], response.text
            answer = without_thoughts(text, requests[n].prompt, self.thought_tags).text
            yield i, Verdict(read_answer(answer, questions[i]), text, tries)

    def _request(self, question: Question, tries: int) -> Request:
        messages = judge_messages(question, self.control)
        decoding = self.decoding
        if tries > 1 and decoding.temperature == 0:
            decoding = replace(decoding, temperature=RETRY_TEMPERATURE)
        seed = seed_of("judge", messages, question.repeat, tries)
        return Request(self.generator.render(messages, None).text, seed, decoding)


def generator_judge(
    name: str, generator: Generator, decoding: Decoding, tags: Sequence[ThoughtTag] = THOUGHT_TAGS
) -> ModelJudge:
    """A judge on any generator. Its digest covers everything except the question that can change a verdict."""
    settings = (decoding.temperature, decoding.top_p, decoding.max_new_tokens, *sorted(map(str, tags)))
    key = digest(["judge", JUDGE_PROMPT_VERSION, generator.digest, *settings])
    return ModelJudge(name, key, generator, decoding, tuple(generator.control_tokens), tags)
