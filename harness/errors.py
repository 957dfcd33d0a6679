"""The exception tree.

MipoBenchError
├── UserError              one message, exit 2, nothing written
│   ├── ConfigError        unknown key or name, value out of range
│   ├── PluginError        a task, baseline or recipe that cannot be loaded
│   ├── ModelError         a model that cannot be loaded or prompted
│   ├── ClusterError       a cluster without hosts, or whose hosts differ
│   ├── DataError          a data set that is incomplete or malformed
│   │   └── MissingDataError   a data set that cannot be had here: --skip-missing goes on without it
│   │       └── NoTrainingError    a data set that can be evaluated, but has no training split
│   ├── ReportError        a report that cannot be read or found
│   ├── NotComparableError two reports that have nothing to test in common, exit 4 under a gate
│   └── StorageError       a folder or store that cannot be written
└── StageError             a part of a run failed: recorded, the rest goes on, exit 1
    ├── ContextLostError   a chat template dropped the user's context
    ├── ServerError        a model server that does not answer
    ├── PairsError         too few preference pairs to train on
    └── TrainingError      a training that diverged or started from the wrong loss
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

_LONGEST_VALUE = 200
_FEW = 3
_SAVE_AGAIN = "config.json and the weights do not belong together: save the model with save_pretrained again."


class MipoBenchError(Exception):
    """The base of all errors that the harness raises on purpose."""


class UserError(MipoBenchError):
    """An error that the user can repair. The message names the value, the allowed ones and the way to repair it."""


class ConfigError(UserError):
    """The run configuration is wrong."""


class PluginError(UserError):
    """A plugin cannot be loaded or breaks its protocol."""


class ModelError(UserError):
    """A model folder or id cannot be used."""


class ClusterError(UserError):
    """A cluster cannot be used: it has no host, or its hosts differ."""


class DataError(UserError):
    """A data set is missing, incomplete or malformed."""


class MissingDataError(DataError):
    """A data set cannot be had here. `reason` says why in a few words without a path, for the report."""

    def __init__(self, message: str, reason: str = "its data is not here") -> None:
        super().__init__(message)
        self.reason = reason


class NoTrainingError(MissingDataError):
    """A task has evaluation items, but its data lacks the `split` to train on."""

    def __init__(self, message: str, split: str) -> None:
        super().__init__(message, f"no {split!r} split to train on")
        self.split = split


class ReportError(UserError):
    """A report is missing, damaged or of an unknown schema."""


class NotComparableError(UserError):
    """Two reports cannot be compared at all."""


class StorageError(UserError):
    """A folder, a file or the run store cannot be read or written."""


class StageError(MipoBenchError):
    """A part of a run failed. The run records the failure and goes on."""


class ContextLostError(StageError):
    """The rendered prompt does not contain the user's context."""


class ServerError(StageError):
    """A model server stopped answering."""


class PairsError(StageError):
    """Sampling left too few preference pairs."""


class TrainingError(StageError):
    """A training diverged, or started from the wrong loss."""


def described(error: BaseException) -> str:
    """Type and text of any error, even of one whose `__str__` raises."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - a plugin's error may raise anything
        return f"{type(error).__name__} (its text cannot be read)"


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type if the text is empty; libraries write long texts."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def shown(value: object) -> str:
    """A value as a message shows it: Python's form of it, cut after 200 characters."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def unknown(kind: str, value: str, allowed: Iterable[str]) -> str:
    """A message that `value` is no known `kind`, with the nearest names and all allowed ones."""
    names = sorted(allowed)
    near = [n for n in names if value and n.startswith(value)] or difflib.get_close_matches(value, names, n=2)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return f"unknown {kind} {value!r}.{hint} Known: {', '.join(names) or 'none'}."


def refuse_missing_weights(source: object, missing: Collection[str], remedy: str = "") -> None:
    """Raise ModelError if the files of a model lack weights.

    transformers makes them up at random, and says so in its log alone. `missing` are the `missing_keys` that
    `from_pretrained` gives with `output_loading_info`.
    """
    if missing:
        names, remedy = ", ".join(sorted(missing)[:_FEW]), remedy or _SAVE_AGAIN
        raise ModelError(
            f"{source} lacks weights that the model needs, which would be random: {names} ({len(missing)} in all)."
            f" {remedy}"
        )
