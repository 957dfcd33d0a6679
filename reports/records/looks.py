"""Records of earlier looks at the same items. Added with schema 2.3."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mipo_bench.reports.records.base import Number, Record


class LookRecord(Record):
    """An earlier run of the same store that made the same comparison: its id and date, and what it found."""

    run: str
    created: str
    delta: Number | None
    p_value: Number | None


class LooksRecord(Record):
    """A primary comparison that earlier runs had tested on these items, with other scores; the oldest look first."""

    task: str
    base: str
    method: str
    earlier: Annotated[list[LookRecord], Field(min_length=1)]
