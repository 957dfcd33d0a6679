"""Writes comparisons of score files as JSON and CSV, in full precision, for other programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from mipo_bench.reports.render.csv_table import comparison_cells, rows_to_csv
from mipo_bench.reports.score_files.compare import Compared
from mipo_bench.reports.stats import Comparison

_NONINFERIORITY = ("margin", "noninferior", "p_noninferiority")
_COLUMNS = ("base", "method", *(f.name for f in fields(Comparison)), "p_holm")


def compared_to_json(compared: Sequence[Compared]) -> str:
    """One flat object for one comparison; for several, an object with the list and the size of the family.

    `base` of that object is null if the comparisons have different bases.
    """
    records = [_record(entry) for entry in compared]
    bases = {entry.base for entry in compared}
    base = compared[0].base if len(bases) == 1 else None
    family = {"base": base, "family_size": len(records), "comparisons": records}
    return json.dumps(records[0] if len(records) == 1 else family, indent=2, allow_nan=False) + "\n"


def _record(entry: Compared) -> dict[str, Any]:
    record = {"base": entry.base, "method": entry.method, **asdict(entry.comparison), "p_holm": entry.p_holm}
    if entry.comparison.margin is None:
        record = {name: value for name, value in record.items() if name not in _NONINFERIORITY}
    return record


def compared_to_csv(compared: Sequence[Compared]) -> str:
    """A heading and one row for each comparison; an undefined figure is an empty cell."""
    return rows_to_csv(_COLUMNS, (_cells(entry) for entry in compared))


def _cells(entry: Compared) -> dict[str, object]:
    c = entry.comparison
    values = {f.name: getattr(c, f.name) for f in fields(c)}
    names = {"base": entry.base, "method": entry.method, "p_holm": entry.p_holm}
    return {**values, **names, **comparison_cells(c.per_seed, [caveat.code for caveat in c.warnings])}
