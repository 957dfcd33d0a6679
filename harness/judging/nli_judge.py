"""A judge that is no language model: an entailment model checks statements about the user against the responses.

Each response is a premise and each statement a hypothesis, as in NLICV (Li et al. 2026, arXiv 2606.16368). A response
scores the mean of P(entailed) - P(contradicted) over the statements, in [-1, 1]; the one with the higher score wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.generators.entailment import Entailed
from mipo_bench.harness.protocols import Question, Verdict

NLI_VERSION = 1
"""Raise it with every change of the statements or of the verdict: it is part of the digest of every such judge."""
TIE_MARGIN = 0.01
"""Responses whose scores differ by no more are a tie: less than rounding and batching can explain away."""
AT_ONCE = 64
"""Questions that are checked together, so that a run that stops has stored those before."""
_BULLET = re.compile(r"^\s*(?:[-*\u2022]|\d{1,2}[.)])\s+(.+)$")
_ENDS = re.compile(r"(?<=[.!?])\s+")


class Entailment(Protocol):
    """A model that says whether premises entail hypotheses."""

    def check(self, pairs: Sequence[tuple[str, str]]) -> list[Entailed]:
        """The probabilities of each pair of premise and hypothesis, in order."""
        ...


def statements_of(question: Question) -> tuple[str, ...]:
    """The statements to check, in sentences: the bulleted lines of the rubric, else the profile, else the rubric.

    The statement of a check is the only one. Lines are split at a full stop, question mark or exclamation mark before
    white space; a line that ends with a colon is a heading and no statement.
    """
    if question.check:
        return (question.check.statement,)
    bullets = [found[1] for line in question.rubric.splitlines() if (found := _BULLET.match(line))]
    text = "\n".join(bullets) or question.item.context or question.rubric
    lines = [line.strip() for line in text.splitlines()]
    parts = [part.strip() for line in lines if not line.endswith(":") for part in _ENDS.split(line)]
    return tuple(dict.fromkeys(part for part in parts if re.search(r"\w", part)))


@dataclass(frozen=True)
class NliJudge:
    """An entailment model as a judge. Its verdict does not depend on the order of the responses."""

    name: str
    digest: str
    model: Entailment
    known: dict[tuple[str, str], Entailed] = field(default_factory=dict, repr=False, compare=False)
    """Response and statement -> probabilities, for the reference's responses come again with every arm."""

    def decide(self, questions: Sequence[Question]) -> Iterator[tuple[int, Verdict]]:
        """See `Judge`. A question without a statement has no verdict. Raises ModelError if the model cannot load."""
        for start in range(0, len(questions), AT_ONCE):
            some = questions[start : start + AT_ONCE]
            statements = [statements_of(question) for question in some]
            self._check([(text, s) for q, own in zip(some, statements, strict=True) for text in _texts(q) for s in own])
            for n, (question, own) in enumerate(zip(some, statements, strict=True), start):
                yield n, self._verdict(question, own)

    def _check(self, pairs: Sequence[tuple[str, str]]) -> None:
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self.known]
        self.known.update(zip(new, self.model.check(new), strict=True))

    def _verdict(self, question: Question, statements: Sequence[str]) -> Verdict:
        if not statements:
            return Verdict(None, "neither rubric nor profile has a statement to check")
        scores = [self._score(text, statements) for text in _texts(question)]
        text = f"{len(statements)} statements; " + " against ".join(f"{score:+.3f}" for score in scores)
        if question.check:
            return Verdict(float(self.known[question.first, statements[0]].entailed > 0.5), text)
        if len(scores) == 1:
            return Verdict(round(2 * (1 + scores[0])) / 4, text)
        difference = scores[0] - scores[1]
        return Verdict(0.5 if abs(difference) <= TIE_MARGIN else float(difference > 0), text)

    def _score(self, text: str, statements: Sequence[str]) -> float:
        """The mean of P(entailed) - P(contradicted) over the statements."""
        found = [self.known[text, statement] for statement in statements]
        return sum(one.entailed - one.contradicted for one in found) / len(found)


def _texts(question: Question) -> tuple[str, ...]:
    return (question.first,) if question.second is None else (question.first, question.second)


def nli_judge(name: str, model: Entailment, model_key: str) -> NliJudge:
    """A judge on an entailment model. `model_key` identifies everything in the model that can change a probability."""
    return NliJudge(name, digest(["judge-nli", NLI_VERSION, TIE_MARGIN, model_key]), model)
