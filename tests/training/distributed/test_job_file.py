"""The job file carries a training whole, and one that was changed is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from small_trainings import pair_set, training

from mipo_bench.harness.core.hashing import file_digest
from mipo_bench.harness.errors import TrainingError
from mipo_bench.harness.training.distributed.job_file import read_job, write_job
from mipo_bench.harness.training.job import TRAINING_VERSION


def test_a_training_comes_back_as_it_was(tmp_path: Path) -> None:
    job = replace(training(3, lr=1e-4 / 3, processes=2), gradient_accumulation_steps=2, deterministic=False)
    first, *_ = (data := pair_set(3)).pairs
    odd = replace(first, chosen='line\nnext\u2028"quoted" \U0001f600', rejected="")
    job = replace(job, data=replace(data, pairs=(odd, first)))
    found = read_job(tmp_path / "job.json", write_job(job, tmp_path / "job.json"))
    tags = found.placement.thought_tags
    assert replace(found, placement=replace(found.placement, thought_tags=tuple(tags))) == job
    json.loads((tmp_path / "job.json").read_text())


def test_a_job_that_was_changed_cut_or_is_gone_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    digest = write_job(training(2), file)
    text = file.read_text()
    file.write_text(text.replace('"lr":0.001', '"lr":0.002'))
    with pytest.raises(TrainingError, match="was changed after it had been written"):
        read_job(file, digest)
    file.write_text(text[:-10])
    with pytest.raises(TrainingError, match="cannot be read"):
        read_job(file, file_digest(file))
    file.write_text(text.replace(f"[{TRAINING_VERSION},", "[1,", 1))
    with pytest.raises(TrainingError, match=f"is of training code 1, this is {TRAINING_VERSION}"):
        read_job(file, file_digest(file))
    file.unlink()
    with pytest.raises(TrainingError, match="cannot be read"):
        read_job(file, digest)
