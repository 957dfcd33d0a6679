"""Records of a score file that any program wrote: the choice of scores in it, what is known of it, and its scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipo_bench.reports.statistics.records import Caveat, Scores

ROLES = ("item", "score", "user", "sample", "train_seed", "arm")
"""What a column of a table can hold; `Choice.columns` maps these to names of columns."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The scores to take from a file.

    `metric`, `filter` and `task` choose among those of a log. `columns` maps entries of `ROLES` to columns of a table,
    or to fields of a log that tell users apart. `values` maps texts to scores. With `allow_missing`, a score that is
    null or NaN is a missing score and not an error. With `unfinished`, a log of a run that did not end is read.
    """

    metric: str | None = None
    filter: str | None = None
    task: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    allow_missing: bool = False
    unfinished: bool = False


PROMPTS = "prompts"
"""The name in `Header.told` of the digests of all prompts, with blanks between them."""


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of all scores of one arm in one file.

    `alike` holds what has to be equal on both sides of a comparison, such as the judge, and `told` what is only noted
    where it differs; a key that one side lacks is not compared. `unit` is the place of a score: a line, a row or a
    sample. `input_name` is the name of the fingerprint that tells different inputs of one item apart. `turned` says
    that lower is better, and that the scores have the opposite sign for it.
    """

    arm: str = ""
    metric: str | None = None
    filter: str | None = None
    alike: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[Caveat, ...] = ()
    unit: str = "line"
    item_name: str = "item"
    user_name: str = "user_id"
    input_name: str = "input"
    turned: bool = False


@dataclass(frozen=True, slots=True)
class ScoreFile:
    """The scores of one arm in one file, and the place of each.

    `document` is the item of each score before occurrences of a repeated document were told apart, and `repeated` the
    number of documents that occur more than once: each occurrence is an item of its own, and counts as often.
    `inputs` is the fingerprint of each row's input or target, None if no row has one.
    """

    path: Path
    header: Header
    scores: Scores
    place: NDArray[np.int64]
    document: NDArray[Any]
    repeated: int = 0
    inputs: NDArray[Any] | None = None

    def where(self, item: str) -> str | None:
        """The place of the item's first score, as `file:3`; None if the file lacks the item."""
        rows = np.flatnonzero(self.scores.item == item)
        return place_text(self.path, int(self.place[rows[0]]), self.header.unit) if rows.size else None


def place_text(path: Path, place: int, unit: str) -> str:
    """The place in a file, for messages: `file:3` for lines, `file, row 3` for all else."""
    return f"{path}:{place}" if unit == "line" else f"{path}, {unit} {place}"
