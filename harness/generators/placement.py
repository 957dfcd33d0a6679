"""Where a model runs, and in which numbers: device, dtype, batch size.

`resolve_placement` replaces each `auto` of the configuration and returns a `Placement`, whose keys are part of the
content keys of answers and checkpoints.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mipo_bench.harness.config.schema import ChatConfig, RunConfig
from mipo_bench.harness.core.provenance import usable_cores
from mipo_bench.harness.errors import ModelError, first_line
from mipo_bench.harness.generators.chat_template import DEFAULT_CHAT
from mipo_bench.tasks.reading.thoughts import THOUGHT_TAGS, ThoughtTag

_DEFAULT_BATCH_SIZE = 32
_GPU_FILES = ("nvidiactl", "nvidia0", "nvidia-uvm", "nvhost-gpu", "nvgpu", "nvmap", "kfd", "dxg")
"""Device files of CUDA, of Jetson boards, of ROCm, and of Windows' subsystem for Linux."""
_THREAD_VARIABLES = {"MKL_NUM_THREADS", "MKL_DOMAIN_NUM_THREADS", "OMP_THREAD_LIMIT", "OMP_DYNAMIC", "MKL_DYNAMIC"}


@dataclass(frozen=True, slots=True)
class Placement:
    """Device, number format, batch size and further settings with which a model is computed."""

    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 0
    """0: torch's default."""
    batch_size: int = 32
    """0: as many sequences as the GPU's memory holds."""
    trust_remote_code: bool = False
    attention: str = "auto"
    device_map: str | None = None
    max_length: int | None = None
    chat: ChatConfig = DEFAULT_CHAT
    gpu: str = ""
    """The name of the GPU."""
    thought_tags: Sequence[ThoughtTag] = THOUGHT_TAGS
    """Tags around thoughts, which stay in responses also where they are special tokens."""

    @property
    def load_kwargs(self) -> dict[str, Any]:
        """Keyword arguments of `from_pretrained`, for answers and training alike. Weights are safetensors only."""
        chosen = {} if self.attention == "auto" else {"attn_implementation": self.attention}
        return {"use_safetensors": True, "trust_remote_code": self.trust_remote_code, **chosen}

    @property
    def numerics_key(self) -> tuple[str, ...]:
        """All fields that can change an answer or a training, for content keys. The hardware changes rounding."""
        hardware = self.gpu or f"{self.threads} threads"
        settings = (self.dtype, self.attention, str(self.device_map), str(self.max_length))
        return (self.device.split(":")[0], hardware, *settings, self.chat.model_dump_json())

    @property
    def generation_key(self) -> tuple[str, ...]:
        """The same for answers, which the batch size can change too."""
        return (*self.numerics_key, str(self.batch_size))


def resolve_placement(config: RunConfig) -> Placement:
    """Replace each `auto` of the configuration by a value. Raises ModelError for a value that cannot be used.

    The device is a GPU if there is one.
    """
    device = _resolve_device(config.device)
    gpu = device.startswith("cuda")
    return Placement(
        device,
        dtype_on(config, device),
        config.threads or resolve_threads(os.environ, usable_cores()),
        config.batch_size or (0 if gpu else _DEFAULT_BATCH_SIZE),
        config.trust_remote_code,
        config.attention,
        config.device_map,
        config.max_length,
        config.chat,
        _gpu_name(device) if gpu else "",
        config.tags_around_thoughts,
    )


def _gpu_name(device: str) -> str:
    import torch

    return str(torch.cuda.get_device_name(device))


def has_gpu_files(root: Path = Path("/")) -> bool:
    """Whether the system shows the device file of a GPU of NVIDIA or AMD; without one no driver can reach it."""
    return any((root / "dev" / name).exists() for name in _GPU_FILES)


def resolve_threads(environment: Mapping[str, str], cores: int) -> int:
    """The threads that torch takes. It is asked where variables besides OMP_NUM_THREADS have a say."""
    wanted, others = environment.get("OMP_NUM_THREADS", ""), _THREAD_VARIABLES & {*environment}
    if wanted.isdecimal() and 0 < int(wanted) <= cores and not others:
        return int(wanted)
    import torch

    return int(torch.get_num_threads())


def _resolve_device(wanted: str) -> str:
    if wanted == "cpu" or (wanted == "auto" and sys.platform == "linux" and not has_gpu_files()):
        return "cpu"
    import torch

    device = ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"device {device!r} cannot be used: {first_line(error)}. Take --set device=cpu, or auto."
        ) from error
    return device


def dtype_on(config: RunConfig, device: str) -> str:
    """The number format of answers: float32 on a CPU, and in runs with a training; otherwise bfloat16.

    Rounding to bfloat16 would lose most of a training's small weight changes. Raises ModelError.
    """
    trains = config.recipes is None or len(config.recipes) > 0
    dtype = config.dtype
    if dtype == "auto":
        dtype = "float32" if trains or device == "cpu" else "bfloat16"
    if config.attention == "flash_attention_2" and dtype == "float32":
        raise ModelError(
            "attention = 'flash_attention_2' computes in 16 bits only, but responses are computed in float32 where"
            " something is trained. Leave attention at auto, or give --set dtype=bfloat16."
        )
    return dtype
