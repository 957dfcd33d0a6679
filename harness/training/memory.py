"""The devices of a training and the memory that it takes on each, estimated before it starts.

Light code imports this module, so torch is imported inside the function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mipo_bench.harness.errors import ModelError

if TYPE_CHECKING:
    from mipo_bench.harness.config.schema import RunConfig, TrainConfig


@dataclass(frozen=True, slots=True)
class Devices:
    """The device that a run computes on, such as `cuda:0`; how many of its kind there are, and the bytes of each."""

    name: str
    count: int = 1
    memory: int = 0

    @property
    def are_gpus(self) -> bool:
        """Whether they are CUDA devices."""
        return self.name.startswith("cuda")


def visible_devices(device: str) -> Devices:
    """The devices that this process sees. `memory` is 0 where there is no GPU."""
    if not device.startswith("cuda"):
        return Devices(device)
    import torch

    return Devices(device, torch.cuda.device_count(), torch.cuda.get_device_properties(device).total_memory)


def training_bytes(parameters: int, settings: TrainConfig) -> int:
    """Bytes on each device of weights, gradients and Adam's two moments in float32; of LoRA the frozen weights alone.

    fsdp2 shares them out; with ddp each process has all of them, and a second copy of the gradients to be summed. A
    file of the user may put any of it elsewhere, so nothing is known of it: 0.
    """
    each = 4 if settings.method == "lora" else 16
    if settings.processes == 1:
        return parameters * each
    if settings.launch == "ddp":
        return parameters * (each if settings.method == "lora" else each + 4)
    return parameters * each // settings.processes if settings.launch == "fsdp2" else 0


def check_training_fits(parameters: int, config: RunConfig, devices: Devices) -> None:
    """Raise ModelError where no batch, however small, could be trained on these GPUs."""
    if not devices.are_gpus or config.recipes == ():
        return
    settings = config.train
    needed = training_bytes(parameters, settings)
    if needed > devices.memory:
        what = "with LoRA" if settings.method == "lora" else f"all {parameters:,} weights"
        where = "" if settings.processes == 1 else f" on each of {settings.processes} devices"
        raise ModelError(
            f"training {what} takes {needed / 1e9:.1f} GB{where} before the first batch, and {devices.name} has"
            f" {devices.memory / 1e9:.1f} GB. {_remedies(parameters, settings, devices.memory)}"
        )


def _remedies(parameters: int, settings: TrainConfig, memory: int) -> str:
    """The settings under which this training, or a smaller one, would fit."""
    ways = []
    if processes := _processes_that_fit(parameters, settings, memory):
        ways.append(f"--set train.processes={processes} --set train.launch=fsdp2 with as many GPUs of this size")
    if settings.method == "full":
        ways.append("--set train.method=lora (with a larger train.lr)")
    return f"Take {', '.join([*ways, 'a smaller model'])}, or set recipes to none."


def _processes_that_fit(parameters: int, settings: TrainConfig, memory: int) -> int | None:
    """The smallest number of processes that would hold the training together; None where no batch has so many."""
    for processes in range(2, settings.batch_size + 1):
        shared = settings.model_copy(update={"processes": processes, "launch": "fsdp2"})
        if settings.batch_size % processes == 0 and training_bytes(parameters, shared) <= memory:
            return processes
    return None
