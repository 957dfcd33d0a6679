"""GPUs for `run --dry-run --gpu`: their published figures, and the rates that were measured on one of them.

To add a measurement, add a `Measurement` to MEASUREMENTS, with its command and date: an estimate scales from the one
whose model is nearest in size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mipo_bench.harness.errors import ConfigError, unknown

WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of one number."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """Published figures: memory in GB, its bandwidth in TB/s, peak TFLOP/s in bfloat16 (dense) and in float32.

    bfloat16 is that of the tensor cores with float32 accumulation and without sparsity. Sources: NVIDIA's data sheets
    of H100 and H200 (SXM), A100 80GB (SXM), L40S, L4 and A10, and its Ada GPU architecture white paper (RTX 4090).
    """

    memory: float
    bandwidth: float
    bfloat16: float
    float32: float


GPUS: Mapping[str, Gpu] = {
    "h200": Gpu(141, 4.8, 989, 67),
    "h100": Gpu(80, 3.35, 989, 67),
    "a100": Gpu(80, 2.039, 312, 19.5),
    "l40s": Gpu(48, 0.864, 362, 91.6),
    "a10": Gpu(24, 0.6, 125, 31.2),
    "l4": Gpu(24, 0.3, 121, 30.3),
    "rtx4090": Gpu(24, 1.008, 165.2, 82.6),
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """GPUs of one kind, each with a process of its own."""

    kind: str
    count: int = 1

    def __post_init__(self) -> None:
        """Raise ConfigError for a kind without figures."""
        if self.kind not in GPUS:
            raise ConfigError(unknown("GPU", self.kind, GPUS))

    @property
    def gpu(self) -> Gpu:
        """The figures of its kind."""
        return GPUS[self.kind]


@dataclass(frozen=True, slots=True)
class Measurement:
    """Rates of mipo-bench on one GPU, as measured.

    `parameters` and `cache_numbers` (of one token in the KV cache) describe the model, `slots` and `columns` the
    running batch. `step` is one decoding step of all slots in seconds (slots / generated where it was not timed by
    itself), `generated` new tokens per second of a whole generation with prefill and sampling, both in `dtype`;
    `trained` is tokens per second in the steps of a full DPO training in mixed precision.
    """

    gpu: str
    model: str
    date: str
    source: str
    parameters: float
    cache_numbers: int
    slots: int
    columns: int
    step: float
    generated: float
    trained: float
    dtype: Literal["bfloat16", "float32"] = "bfloat16"

    @property
    def bandwidth_share(self) -> float:
        """The share of the GPU's bandwidth that a decoding step uses: it reads the weights and the KV cache once."""
        moved = WIDTHS[self.dtype] * (self.parameters + self.slots * self.columns * self.cache_numbers)
        return moved / self.step / (GPUS[self.gpu].bandwidth * 1e12)

    @property
    def overhead(self) -> float:
        """Seconds of a decoding step beside the model: sampling, Python, idle slots, and the prefill that it waits for.

        They are the host's, and stay the same on another GPU.
        """
        return max(self.slots / self.generated - self.step, 0.0)

    @property
    def compute_share(self) -> float:
        """The share of the peak that a training reaches: 6 FLOP a parameter and token, forward and backward.

        The reference model's log-probabilities are not in its steps.
        """
        return 6 * self.parameters * self.trained / (GPUS[self.gpu].bfloat16 * 1e12)


MEASUREMENTS = (
    Measurement(
        gpu="h100",
        model="random weights in the shape of Qwen2.5-1.5B",
        date="2026-11-26",
        source="tests/benchmarks/bench_gpu.py, in docs/development/speed.md",
        parameters=1.54e9,
        cache_numbers=14_336,
        slots=256,
        columns=384,
        step=6.7e-3,
        generated=6_505,
        trained=17_700,
    ),
)


def nearest_measurement(parameters: float) -> Measurement:
    """The measurement whose model is nearest in size, by the ratio."""
    return min(MEASUREMENTS, key=lambda m: abs(math.log(m.parameters / parameters)))
