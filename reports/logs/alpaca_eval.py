"""AlpacaEval's annotations: which of two responses to an instruction a judge preferred.

{"instruction": "..", "output_1": "..", "generator_1": "base", "output_2": "..", "generator_2": "m", "preference": 1.9}

The score is `preference - 1`, the win of `generator_2` over `generator_1`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.errors import UserError
from mipo_bench.reports.logs.collect import Columns
from mipo_bench.reports.logs.record import Choice, Header, ScoreFile
from mipo_bench.reports.logs.rows import Row, short_id, show
from mipo_bench.reports.logs.source import Source, open_source
from mipo_bench.reports.statistics.records import Caveat

NAME = "AlpacaEval"
CHOICES = ("user",)
FILE = "annotations.json"
_SAME = {"annotator": "annotator", "generator_1": "reference"}


@dataclass
class _Arm:
    columns: Columns
    same: dict[str, str]
    old_ties: int = 0
    weighted: bool = False


def is_folder(path: Path) -> bool:
    """Whether a folder, or one below it, holds annotations."""
    return any(True for _ in path.rglob(FILE))


def read(source: Source, choice: Choice) -> list[ScoreFile]:
    """One arm for each `generator_2`, in the order of the file.

    Raises UserError for a preference outside 1 to 2, several annotators or references, and an instruction that occurs
    twice for one generator.
    """
    if source.kind == "folder":
        source = open_source(_annotations(source.path))
    arms: dict[str, _Arm] = {}
    for row in source.rows():
        name = str(row.fields.get("generator_2") or "")
        same = {label: str(row.fields[key]) for key, label in _SAME.items() if row.fields.get(key) is not None}
        arm = arms.setdefault(name, _Arm(Columns(source.path, row.unit), same))
        for label in {*arm.same, *same}:
            if arm.same.get(label) != same.get(label):
                row.fail(
                    f"the {label} is {show(same.get(label))}, and {show(arm.same.get(label))} before; one file has one"
                )
        _add(arm, row, choice)
    if not arms:
        raise UserError(f"{source.path}: the file is empty; at least one annotation is needed.")
    return [_finish(name, arm) for name, arm in arms.items()]


def metrics(_source: Source, choice: Choice) -> list[Choice]:
    """The only score: the preference."""
    return [choice]


def _annotations(folder: Path) -> Path:
    files = sorted(folder.rglob(FILE))
    if len(files) > 1:
        names = ", ".join(str(file.relative_to(folder)) for file in files)
        raise UserError(f"{folder}: several annotations ({names}); name one of these files.")
    return files[0]


def _add(arm: _Arm, row: Row, choice: Choice) -> None:
    value: Any = row.fields.get("preference")
    if value == 0 and not isinstance(value, bool):  # how older versions wrote a tie
        arm.old_ties += 1
        value = 1.5
    preference = row.number("preference", value, allow_missing=choice.allow_missing)
    if preference < 1 or preference > 2:
        row.fail(f"preference is {preference:g}; it lies between 1 (generator_1 is better) and 2 (generator_2)")
    arm.weighted |= not math.isnan(preference) and preference not in (1, 1.5, 2)
    user = choice.columns.get("user")
    arm.columns.user_name = user or arm.columns.user_name
    arm.columns.add(
        short_id(row.text("instruction")),
        preference - 1,
        row.place,
        user=row.text(user) if user else None,
        input_=digest([row.fields.get("output_1")]) if row.has("output_1") else "",
    )


def _finish(name: str, arm: _Arm) -> ScoreFile:
    ties = f"preferences of 0, an older code for a tie, read as 1.5: {arm.old_ties}"
    header = Header(
        name,
        "preference",
        alike=arm.same,
        told={"preferences": "weighted" if arm.weighted else "discrete"},
        notes=(Caveat("old_ties", ties),) if arm.old_ties else (),
        unit=arm.columns.unit,
        item_name="instruction",
        user_name=arm.columns.user_name,
        input_name="output_1",
    )
    return arm.columns.finish(header, twice="generator_2. Write one evaluation to each file")
