"""The configuration file of `accelerate launch`: one of ours, or a file of the user with our number of processes.

`accelerate launch` always gets a file, because without one it reads a default of the user's that nobody sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from mipo_bench.harness.config.values import launch_file
from mipo_bench.harness.config.yaml_text import YamlError, parse_yaml
from mipo_bench.harness.errors import ConfigError, first_line

if TYPE_CHECKING:
    from pathlib import Path

    from mipo_bench.harness.config.schema import TrainConfig

_DDP: Mapping[str, Any] = {"distributed_type": "MULTI_GPU"}
_FSDP2: Mapping[str, Any] = {
    "distributed_type": "FSDP",
    "fsdp_config": {
        "fsdp_version": 2,
        "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "fsdp_reshard_after_forward": True,
        "fsdp_state_dict_type": "FULL_STATE_DICT",
        "fsdp_cpu_ram_efficient_loading": False,
        "fsdp_offload_params": False,
    },
}
_LAUNCHES = {"ddp": _DDP, "fsdp2": _FSDP2}
_TYPES = ("MULTI_GPU", "FSDP", "DEEPSPEED")
"""Accelerate's ways of sharing a training between the GPUs of one machine, as its files name them."""
_OURS: Mapping[str, Any] = {
    "compute_environment": "LOCAL_MACHINE",
    "num_machines": 1,
    "machine_rank": 0,
    "main_process_port": 0,  # one that is free: several trainings may run at once
    "use_cpu": False,  # the trainer's own argument decides; accelerate would start a single process
}


def accelerate_values(settings: TrainConfig) -> dict[str, Any]:
    """The values of the file for these settings. Raises ConfigError for a user's file that cannot be used."""
    file = launch_file(settings.launch)
    chosen = _LAUNCHES[settings.launch] if file is None else _checked(file, settings)
    return {"mixed_precision": "no", **chosen, **_OURS, "num_processes": settings.processes}


def expected_type(settings: TrainConfig, *, gpu: bool) -> str:
    """Accelerate's name for the way in which the processes of this training must find themselves to be connected."""
    wanted = str(accelerate_values(settings)["distributed_type"])
    return "MULTI_CPU" if wanted == "MULTI_GPU" and not gpu else wanted


def _checked(file: Path, settings: TrainConfig) -> Mapping[str, Any]:
    """The values of a user's file. Raises ConfigError for one of another machine, or for other processes than ours."""
    values = _read(file)
    kind = values.get("distributed_type")
    if kind not in _TYPES:
        raise ConfigError(_text(file, f"distributed_type is {kind!r}, it must be one of {', '.join(_TYPES)}"))
    if values.get("num_processes", settings.processes) != settings.processes:
        raise ConfigError(
            _text(file, f"num_processes is {values['num_processes']}, but train.processes = {settings.processes}")
        )
    if values.get("num_machines", 1) != 1:
        raise ConfigError(_text(file, f"num_machines is {values['num_machines']}, but a training uses one machine"))
    if kind == "DEEPSPEED" and find_spec("deepspeed") is None:
        raise ConfigError(_text(file, "DeepSpeed is not installed; install the package deepspeed"))
    return values


def _read(file: Path) -> dict[str, Any]:
    try:
        values = parse_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YamlError) as error:
        raise ConfigError(_text(file, f"it cannot be read: {first_line(error)}")) from error
    if not isinstance(values, dict):
        raise ConfigError(_text(file, "it does not hold keys and values"))
    return values


def _text(file: Path, problem: str) -> str:
    return f"train.launch = {str(file)!r}: {problem}. Write the file with `accelerate config --config_file {file}`."
