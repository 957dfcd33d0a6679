"""The provenance of a report: package versions and hardware. `git` adds the commit."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("mipo-bench", "torch", "transformers", "trl", "peft", "tokenizers", "datasets", "numpy", "scipy")


def package_versions() -> dict[str, str]:
    """Installed versions of Python and of the packages that can change a score."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"python": platform.python_version(), **found}


def hardware(device: str) -> dict[str, str | int]:
    """The device, GPU, machine, system and cores of a run. The host's name stays out of the report."""
    return {
        "device": device,
        **_gpu(device),
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": usable_cores(),
    }


def _gpu(device: str) -> dict[str, str]:
    if not device.startswith("cuda"):
        return {}
    import torch

    return {"gpu": torch.cuda.get_device_name(device)}


def usable_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
