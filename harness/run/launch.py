"""Rank of this process among the processes of one run. They share a store and do not use torch.distributed."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

_LAUNCHERS = ("ACCELERATE_", "CCL_", "FSDP_", "OMPI_", "PMI_", "TORCHELASTIC_", "TORCH_NCCL_")
_VARIABLES = {
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE"),
    *("ROLE_NAME", "ROLE_RANK", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "FORK_LAUNCHED"),
}
_GPUS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True, slots=True)
class Processes:
    """Rank of this process and number of processes, in all and on this machine. Rank 0 writes the report."""

    number: int = 0
    count: int = 1
    local_number: int = 0
    local_count: int = 1

    @property
    def is_worker(self) -> bool:
        """Whether this process computes and leaves the report to rank 0."""
        return self.number > 0


def pop_launcher_rank(environment: MutableMapping[str, str]) -> Processes:
    """Read the variables of `accelerate launch` or `torchrun` and delete them, so that trl trains in one process."""

    def number(name: str, default: int) -> int:
        text = environment.get(name, "")
        return int(text) if text.isascii() and text.isdigit() else default

    count = max(1, number("WORLD_SIZE", 1))
    rank = number("RANK", 0)
    processes = Processes(rank, count, number("LOCAL_RANK", rank), max(1, number("LOCAL_WORLD_SIZE", count)))
    for name in [n for n in environment if n in _VARIABLES or n.startswith(_LAUNCHERS)]:
        del environment[name]
    return processes


def as_environment(processes: Processes) -> dict[str, str]:
    """The environment variables from which `pop_launcher_rank` reads these ranks."""
    named = {"RANK": processes.number, "WORLD_SIZE": processes.count}
    named |= {"LOCAL_RANK": processes.local_number, "LOCAL_WORLD_SIZE": processes.local_count}
    return {name: str(value) for name, value in named.items()}


def choose_gpu(processes: Processes, environment: MutableMapping[str, str]) -> None:
    """Set `CUDA_VISIBLE_DEVICES` to one GPU, because trl must see exactly one. Several processes may share a GPU.

    An empty `CUDA_VISIBLE_DEVICES` stays empty: the user wants no GPU.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    gpus = [str(n) for n in range(_count_gpus())] if visible is None else visible.split(",")
    environment["CUDA_VISIBLE_DEVICES"] = gpus[processes.local_number % len(gpus)] if gpus else "0"


def _count_gpus() -> int:
    return sum(1 for _ in _GPUS.iterdir()) if _GPUS.is_dir() else 1


def threads_each(processes: Processes, wanted: int, cores: int) -> int:
    """CPU threads of one process: `wanted`, or for 0 an equal share of the cores."""
    return wanted or max(1, cores // processes.local_count)


def rank_of_this_process() -> Processes:
    """Apply `pop_launcher_rank` to the environment of this process."""
    return pop_launcher_rank(os.environ)
