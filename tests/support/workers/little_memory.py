"""The worker of a training whose second process has memory for two texts at once; chosen and rejected are two.

`accelerate launch` starts it as a script.
"""

from __future__ import annotations

import sys
from typing import cast

import torch

from mipo_bench.harness.training import dpo
from mipo_bench.harness.training.distributed import worker
from mipo_bench.harness.training.job import OnStep, Prepared, Training
from mipo_bench.harness.training.ranks import rank


def refuse(module: object, args: object, kwargs: dict[str, torch.Tensor]) -> None:
    if rank() == 1 and len(kwargs["input_ids"]) > 2:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def prepare(training: Training, scratch: str, on_step: OnStep) -> Prepared:
    prepared = dpo.prepare(training, scratch, on_step)
    cast("torch.nn.Module", prepared.trainer.model).register_forward_pre_hook(refuse, with_kwargs=True)
    return prepared


if __name__ == "__main__":
    worker.main(sys.argv[1:], prepare)
