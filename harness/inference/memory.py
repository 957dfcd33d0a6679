"""Memory: how many slots it holds, how running out of it is recognised, and how it is freed."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

MOST_SLOTS = 256
"""More prompts at once hardly raise the speed."""
_SIGNS = ("out of memory", "can't allocate memory", "alloc_failed")
"""What the message of a RuntimeError says: torch's own, and those of cuBLAS and cuDNN."""
_MODELS = 2
"""Models of one size in memory at once: the base model and a checkpoint."""
_SHARE = 0.5
"""Of what the weights leave free; the rest is for prompts, scores, and what the allocator cannot use."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a device has left beside the weights, and what one token's keys and values take; both in bytes.

    It counts the device's whole memory, not what happens to be free: the number of slots is part of how answers are
    rounded, and must be the same the next time.
    """

    left: int
    per_token: int

    def slots(self, columns: int) -> int:
        """The largest power of two of slots with so many columns that fits, at least 1."""
        fitting = int(self.left * _SHARE) // (self.per_token * columns)
        return min(MOST_SLOTS, 1 << max(fitting.bit_length() - 1, 0))


def token_bytes(config: Any, bytes_of_number: int) -> int:
    """Bytes of one token's keys and values in all layers of a model with this configuration."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width * bytes_of_number)


def budget(model: Any) -> Budget:
    """The budget of a model on the GPU that it is on."""
    import torch

    total = torch.cuda.get_device_properties(model.device).total_memory
    weights = _MODELS * sum(p.numel() * p.element_size() for p in model.parameters())
    return Budget(max(total - weights, 0), token_bytes(model.config.get_text_config(), model.dtype.itemsize))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device had no memory left; only CUDA has an exception of its own for it."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (any(sign in text for sign in _SIGNS))


@contextmanager
def only_new_garbage() -> Iterator[None]:
    """Garbage is looked for among what is made from here on: all that the libraries hold takes long to look through."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def free_memory() -> None:
    """Give back what nothing refers to any more."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
