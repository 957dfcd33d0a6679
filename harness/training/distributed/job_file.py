"""The job file: one training as JSON, for the processes that share it. No code is in it, and its digest is checked."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mipo_bench.harness.core.hashing import file_digest
from mipo_bench.harness.errors import TrainingError
from mipo_bench.harness.training.job import TRAINING_VERSION, Training
from mipo_bench.harness.training.pairs import PairSet


@cache
def _format() -> TypeAdapter[Any]:
    return TypeAdapter(tuple[int, Training])


def write_job(training: Training, file: Path) -> str:
    """Write the training on preference pairs to a file. Returns its digest."""
    assert isinstance(training.data, PairSet)  # rewards are functions; `check_objectives` has refused them
    file.write_bytes(_format().dump_json((TRAINING_VERSION, training)))
    return file_digest(file)


def read_job(file: Path, digest: str) -> Training:
    """The training in a file. Raises TrainingError for one that was changed, cut, or written by other code."""
    try:
        if file_digest(file) != digest:
            raise TrainingError(f"the job file {file} was changed after it had been written; start the run again")
        version, training = _format().validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise TrainingError(f"the job file {file} cannot be read: {error}") from error
    if version != TRAINING_VERSION:
        raise TrainingError(f"the job file {file} is of training code {version}, this is {TRAINING_VERSION}")
    found: Training = training
    return found
