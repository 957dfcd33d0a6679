"""A trial of what a model's architecture allows: KV-cache slots, rows that round alike, CUDA graphs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trial:
    """What trying a model in slots has shown.

    `fits`: it can be used so. `alike`: all rows are rounded alike. `elastic`: masked columns leave every bit as it is.
    `recorded`: steps can be recorded, and played.
    """

    fits: bool
    reason: str = ""
    alike: bool = True
    elastic: bool = False
    recorded: bool = False
