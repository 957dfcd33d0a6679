"""The record of one check before a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `fail` prevents the run, `warn` does not."""

    what: str
    state: State
    text: str
