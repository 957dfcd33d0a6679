"""Reads the margins of a gate from the command line: `--margin TASK=0.02` or `--margin 0.02`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mipo_bench.harness.errors import ConfigError, unknown
from mipo_bench.reports.diff.gate import Gate, GateKind


def read_margins(texts: Sequence[str], tasks: Sequence[str]) -> dict[str, float]:
    """Margins by task from `TASK=0.02`, or `0.02` for all. Raises ConfigError with every problem at once."""
    found: dict[str, float] = {}
    problems: list[str] = []
    for text in sorted(texts, key=lambda t: "=" in t):  # a task's own margin wins over the one for all
        name, sep, number = text.rpartition("=")
        value = _number(number)
        if value is None or not 0 <= value < 1:
            problems.append(f"--margin {text!r}: write TASK=0.02 or 0.02, a loss from 0 to below 1.")
        elif sep and name not in tasks:
            problems.append(f"--margin {text!r}: {unknown('task', name, tasks)}")
        else:
            found |= dict.fromkeys([name] if sep else tasks, value)
    if problems:
        raise ConfigError("\n".join(problems))
    return found


def gate_of(kind: GateKind | None, margins: Mapping[str, float], tasks: Sequence[str]) -> Gate | None:
    """The gate of `--gate`; None without one.

    Raises ConfigError if `noninferior` lacks a margin for one of these tasks.
    """
    if kind is None:
        return None
    lacking = [task for task in tasks if task not in margins]
    if kind == "noninferior" and lacking:
        example = " ".join(f"--margin {task}=0.02" for task in lacking)
        raise ConfigError(f"--gate noninferior needs a margin for every task; add for example: {example}")
    return Gate(kind, margins)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
