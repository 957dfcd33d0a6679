"""Memory of a device: how many slots it holds, how values get there, and how a lack of it is seen and ended.

Light code imports this module too, so torch is imported inside the functions. `Budget` is the place to start.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

MAX_SLOTS = 256
"""More prompts at once hardly raise the speed."""
_SIGNS = ("out of memory", "can't allocate memory", "alloc_failed")
"""Words in the message of a RuntimeError: torch's own, and those of cuBLAS and cuDNN."""
_MODELS = 2
"""Models of one size in memory at once: the base model and a checkpoint."""
_SHARE = 0.5
"""The share of the memory beside the weights that slots may take; the rest is for prompts, logits and the allocator."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The memory of a device beside the weights, and that of one token in the KV cache; both in bytes.

    It counts the device's whole memory, not what happens to be free: the number of slots is part of how answers are
    rounded, and must be the same the next time.
    """

    left: int
    per_token: int

    def slots(self, columns: int) -> int:
        """The largest power of two of slots with so many columns that fits, at least 1."""
        fitting = int(self.left * _SHARE) // (self.per_token * columns)
        return min(MAX_SLOTS, 1 << max(fitting.bit_length() - 1, 0))


def token_bytes(config: Any, bytes_of_number: int) -> int:
    """Bytes of one token in the KV cache, over all layers of a model with this configuration."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width * bytes_of_number)


def budget(model: Any) -> Budget:
    """The budget of a model on the GPU that it is on."""
    import torch

    total = torch.cuda.get_device_properties(model.device).total_memory
    weights = _MODELS * sum(p.numel() * p.element_size() for p in model.parameters())
    return Budget(max(total - weights, 0), token_bytes(model.config.get_text_config(), model.dtype.itemsize))


def on_device(values: Any, device: Any, dtype: Any) -> Any:
    """A tensor with these values. A copy to a GPU comes in its turn: nothing waits until the work before it is done."""
    import torch

    found = torch.tensor(values, dtype=dtype)
    return found.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else found.to(device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device had no memory left; only CUDA has an exception of its own for it."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (any(sign in text for sign in _SIGNS))


@contextmanager
def gc_frozen() -> Iterator[None]:
    """Leave all objects made so far out of garbage collection: the libraries hold so many that each pass takes long."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def free_memory() -> None:
    """Collect garbage, and give memory that is no longer used back to the GPU and to the operating system.

    glibc keeps freed memory below a block that is still in use: gigabytes after a training on a CPU.
    """
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None:
        trim(0)
