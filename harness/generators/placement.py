"""Where a model runs, and in which numbers: device and dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mipo_bench.harness.config.schema import ChatConfig, RunConfig
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.generators.chat_template import DEFAULT_CHAT

_USUAL = 32


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how a model is computed."""

    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 0
    """0 leaves it to torch."""
    batch_size: int = 32
    """0 takes what the GPU's memory holds."""
    trust_remote_code: bool = False
    attention: str = "auto"
    device_map: str | None = None
    max_length: int | None = None
    chat: ChatConfig = DEFAULT_CHAT
    gpu: str = ""
    """The name of the GPU."""

    @property
    def loading(self) -> dict[str, Any]:
        """How transformers loads a model, whatever for. Weights come from safetensors only."""
        chosen = {} if self.attention == "auto" else {"attn_implementation": self.attention}
        return {"use_safetensors": True, "trust_remote_code": self.trust_remote_code, **chosen}

    @property
    def identity(self) -> tuple[str, ...]:
        """What of it can change an answer or a training, for content keys: rounding depends on the hardware too."""
        where = self.gpu or f"{self.threads} threads"
        how = (self.dtype, self.attention, str(self.device_map), str(self.max_length))
        return (self.device.split(":")[0], where, *how, self.chat.model_dump_json())

    @property
    def answering(self) -> tuple[str, ...]:
        """The same for answers, which the number of slots can change too."""
        return (*self.identity, str(self.batch_size))


def place(config: RunConfig) -> Placement:
    """Settle what the configuration leaves to `auto`. Raises ModelError for what cannot be used.

    The device is a GPU if there is one. Responses are computed in float32 where something is trained: rounded to
    bfloat16, most of the small steps of a training vanish again from the weights. Else bfloat16 on a GPU.
    """
    import torch

    device = ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"device {device!r} cannot be used: {reason}. Take --set device=cpu, or auto.") from error
    trains = config.recipes is None or len(config.recipes) > 0
    dtype = config.dtype
    if dtype == "auto":
        dtype = "float32" if trains or device == "cpu" else "bfloat16"
    if config.attention == "flash_attention_2" and dtype == "float32":
        raise ModelError(
            "attention = 'flash_attention_2' computes in 16 bits alone, and responses are computed in float32 where"
            " something is trained. Leave it at auto, or give --set dtype=bfloat16."
        )
    gpu = device.startswith("cuda")
    return Placement(
        device,
        dtype,
        config.threads or torch.get_num_threads(),
        config.batch_size or (0 if gpu else _USUAL),
        config.trust_remote_code,
        config.attention,
        config.device_map,
        config.max_length,
        config.chat,
        torch.cuda.get_device_name(device) if gpu else "",
    )
