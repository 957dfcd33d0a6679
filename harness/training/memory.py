"""The memory that a training takes, estimated before it starts.

Light code imports this module, so torch is imported inside the function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mipo_bench.harness.errors import ModelError

if TYPE_CHECKING:
    from mipo_bench.harness.config.schema import RunConfig


def training_bytes(parameters: int, method: Literal["full", "lora"]) -> int:
    """Bytes of weights, gradients and Adam's two moments in float32; of LoRA the frozen weights alone."""
    return parameters * (4 if method == "lora" else 16)


def check_training_fits(parameters: int, config: RunConfig, device: str) -> None:
    """Raise ModelError where no batch, however small, could be trained on this GPU."""
    import torch

    if not device.startswith("cuda") or config.recipes == ():
        return
    total = torch.cuda.get_device_properties(device).total_memory
    needed = training_bytes(parameters, config.train.method)
    if needed > total:
        raise ModelError(
            f"training all {parameters:,} weights takes {needed / 1e9:.1f} GB before the first batch, and {device} has"
            f" {total / 1e9:.1f} GB. Set train.method to lora (with a larger train.lr), take a smaller model, or"
            " set recipes to none."
        )
