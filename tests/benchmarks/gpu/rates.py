"""Seconds of a piece of work on a device, and the tokens per second of both sides."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence


def report(name: str, sides: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    """Tokens per second of each side, and the ratio of its median to the first side's."""
    rates = {side: [tokens / seconds for tokens, seconds in turns] for side, turns in sides.items()}
    first = statistics.median(next(iter(rates.values())))
    for side, values in rates.items():
        ratio = statistics.median(values) / first
        print(f"{name}: {side} {' '.join(f'{v:,.0f}' for v in values)} tokens/s ({ratio:.2f})", flush=True)


def timed(work: Callable[[], int]) -> tuple[int, float]:
    """The tokens that a call returns, and its wall-clock seconds."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def copied_bytes(device: str) -> float:
    """Bytes that a copy of a large tensor reads and writes in a second."""
    import torch

    source = torch.ones((1 << 30 if device == "cuda" else 1 << 26), dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() * source.element_size() / seconds_of(lambda: target.copy_(source), device)


def seconds_of(work: Callable[[], object], device: str, times: int = 20) -> float:
    """The seconds of one call, by the mean of many after a few that are not counted."""
    import torch

    for _ in range(3):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(times):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / times
