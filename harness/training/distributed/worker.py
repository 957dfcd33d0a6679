"""One process of a training over several devices: `accelerate launch` starts this module once for each of them.

It reads the job file, refuses to train where it is connected otherwise than the job says, and trains. The first process
writes the checkpoint. It ends when its standard input is closed, which the run does, or the system when the run ends.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator

from mipo_bench.harness.errors import TrainingError
from mipo_bench.harness.training.distributed.accelerate_file import expected_type
from mipo_bench.harness.training.distributed.events import Started, Stepped, failed, send
from mipo_bench.harness.training.distributed.job_file import read_job
from mipo_bench.harness.training.job import OnStep, Prepared, Training
from mipo_bench.harness.training.ranks import rank
from mipo_bench.harness.training.train import Prepare, objective_trainer, train_once


def main(arguments: Sequence[str], prepare: Prepare | None = None) -> None:
    """Train as the job file says: its path, its digest, and the folder of the checkpoint are the arguments.

    `prepare` replaces the objective's own. An error is sent to the run, and ends the process with exit code 1.
    """
    events = _own_standard_output()
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    send(Started(rank(), os.getpid()), events)
    file, digest, out = arguments
    try:
        training = read_job(Path(file), digest)
        scratch = str(Path(file).parent)
        train_once(training, Path(out), scratch, _step_sender(events), _checked(prepare or objective_trainer(training)))
    except BaseException as error:  # noqa: BLE001 - the run reports it, whatever it is
        send(failed(rank(), error), events)
        os._exit(1)  # a normal end would wait for processes that wait for this one
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def check_type(accelerator: Accelerator, training: Training) -> None:
    """Raise TrainingError where the processes are connected otherwise than the job says: each could train by itself."""
    wanted = expected_type(training.settings, gpu=training.placement.device.startswith("cuda"))
    found = str(accelerator.distributed_type.value)
    if found != wanted or accelerator.num_processes != training.settings.processes:
        raise TrainingError(
            f"train.launch = {training.settings.launch!r}: the processes must be connected as {wanted}, but they are as"
            f" {found}, {accelerator.num_processes} of them"
        )
    if training.settings.launch == "fsdp2" and not accelerator.is_fsdp2:
        raise TrainingError("train.launch = 'fsdp2', but FSDP of version 1 is in use")


def _checked(prepare: Prepare) -> Prepare:
    def prepare_and_check(training: Training, scratch: str, on_step: OnStep) -> Prepared:
        prepared = prepare(training, scratch, on_step)
        check_type(prepared.trainer.accelerator, training)
        return prepared

    return prepare_and_check


def _step_sender(events: int) -> OnStep:
    """Sends the steps of the first process; all take them together."""

    def on_step(step: int, total: int) -> None:
        if rank() == 0:
            send(Stepped(step, total), events)

    return on_step


def _own_standard_output() -> int:
    """The descriptor of standard output for events alone; all that libraries print goes to standard error."""
    descriptor = os.dup(1)
    os.dup2(2, 1)
    return descriptor


def _end_with_the_run() -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock a waiting thread would hold at the end of the process
        pass
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
