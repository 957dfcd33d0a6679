"""Record of the sensitivity of a comparison. Added with schema 2.2."""

from __future__ import annotations

from mipo_bench.reports.records.base import Number, Record


class SensitivityRecord(Record):
    """How much of a comparison rests on one user (or item) and on five items; see `reports.stats.Sensitivity`."""

    delta_without: Number | None
    delta_cluster: str | None
    p_without: Number | None
    p_cluster: str | None
    top_items: list[str]
    top_share: Number | None
