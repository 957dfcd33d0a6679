"""A trial of what a model's architecture allows: KV-cache slots, rows that round alike, CUDA graphs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SlotSupport:
    """What trying a model in slots has shown.

    `supported`: it can be used so. `rows_round_alike`: all rows are rounded alike. `resizable`: masked columns leave
    every bit as it is. `cuda_graph`: steps can be recorded, and played.
    """

    supported: bool
    reason: str = ""
    rows_round_alike: bool = True
    resizable: bool = False
    cuda_graph: bool = False
