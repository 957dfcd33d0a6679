"""Records of the guards: overlap with training data, diversity and wording of responses, difficulty of pairs.

`harness.diagnostics.guards` measures them; `analysis.guard_rules` turns them into warnings.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mipo_bench.reports.records.base import Number, Record, UnitScore


class NearRecord(Record):
    """An evaluation text and the training text nearest to it: their item ids and their Jaccard similarity."""

    evaluation: str
    training: str
    similarity: UnitScore


class OverlapRecord(Record):
    """Overlap between evaluation and training texts of one kind.

    `same` counts evaluation texts that equal a training text except for case and white space, `near` the near
    duplicates among the others; `examples` are the nearest of both. `users` are compared by name: none of them is near.
    """

    of: Literal["prompts", "contexts", "users"]
    evaluation: int
    training: int
    same: int
    near: int
    examples: list[NearRecord] = Field(default=[])


class WordingRecord(Record):
    """The responses of one arm (its first training seed).

    `empty` counts responses without text. `distinct_1`, `distinct_2` and `self_bleu` are over `matched` responses cut
    to `matched_words` words, the same number for all arms of the task; None if too few are that long. `perplexity` is
    the base model's, of `measured` responses after the arm's own prompts; None if it cannot be computed.
    """

    method: str
    responses: int
    empty: int
    matched: int = 0
    matched_words: int = 0
    distinct_1: UnitScore | None = None
    distinct_2: UnitScore | None = None
    self_bleu: UnitScore | None = None
    measured: int = 0
    perplexity: Number | None = None


class MarginRecord(Record):
    """The pairs of one recipe (its first training seed) under the base model, before any training.

    `margin` is the mean of log p(chosen) - log p(rejected) in nats, given the prompt of the chosen response; `accuracy`
    is the share of pairs with a positive difference.
    """

    recipe: str
    pairs: int
    margin: Number
    accuracy: UnitScore


class GuardRecord(Record):
    """The guards of one task."""

    task: str
    overlap: list[OverlapRecord]
    wording: list[WordingRecord]
    margins: list[MarginRecord]
