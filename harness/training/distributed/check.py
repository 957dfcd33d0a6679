"""The check of a run's trainings before it starts: devices, memory, and the settings of several processes."""

from __future__ import annotations

from collections.abc import Iterable

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.training.distributed.accelerate_file import accelerate_values
from mipo_bench.harness.training.memory import Devices, check_training_fits
from mipo_bench.harness.types import Objective

SHARED: tuple[Objective, ...] = ("dpo", "sft")
"""Objectives that several processes can train together."""


def check_training(parameters: int, config: RunConfig, devices: Devices) -> None:
    """Raise ConfigError where these devices cannot train as the settings say, ModelError where memory is too small."""
    if config.recipes == ():
        return
    if config.train.processes > 1:
        _check_devices(config, devices)
    check_training_fits(parameters, config, devices)


def check_objectives(config: RunConfig, objectives: Iterable[tuple[str, Objective]]) -> None:
    """Raise ConfigError where one of these methods, each with its objective, cannot be trained by several processes.

    The rewards of GRPO, and the different numbers of passes of SAMI and InfoNCE, need one process.
    """
    if config.train.processes == 1:
        return
    alone = sorted({f"{method} ({objective})" for method, objective in objectives if objective not in SHARED})
    if alone:
        raise ConfigError(
            f"train.processes = {config.train.processes}: several processes train by DPO or SFT only, and not"
            f" {', '.join(alone)}. Leave these recipes out (--recipes), or set train.processes to 1."
        )


def _check_devices(config: RunConfig, devices: Devices) -> None:
    settings = config.train
    kind = accelerate_values(settings)["distributed_type"]
    several = f"train.processes = {settings.processes}"
    if ":" in config.device:
        raise ConfigError(f"{several}: device = {config.device!r} names one device; set device to auto.")
    if devices.name == "cpu" and kind != "MULTI_GPU":
        raise ConfigError(
            f"{several}: train.launch = {settings.launch!r} needs GPUs, and the device is cpu. Give --set"
            " train.launch=ddp."
        )
    if devices.name != "cpu" and not devices.are_gpus:
        raise ConfigError(f"{several}: device {devices.name!r} trains in one process only; set it to 1.")
    if devices.are_gpus and devices.count < settings.processes:
        raise ConfigError(
            f"{several}, but this process sees {devices.count} GPU{'s' * (devices.count > 1)}"
            " (CUDA_VISIBLE_DEVICES). Each process needs one of its own: lower train.processes."
        )
