"""The record of one check before a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `fail` prevents the run, `warn` does not."""

    what: str
    state: Literal["ok", "warn", "fail"]
    text: str
