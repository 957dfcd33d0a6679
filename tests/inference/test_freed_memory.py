"""Memory that a process no longer uses goes back to the operating system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

BLOCKS = """
import torch
from mipo_bench.harness.inference.memory import free_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

blocks = [torch.ones(2**14) for _ in range(4000)]  # 250 MiB in blocks too small for pages of their own
kept = blocks[-1]
del blocks
before = resident()
free_memory()
print(before - resident())
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the allocator is not glibc's"
)
def test_freed_memory_below_a_block_in_use_is_given_back() -> None:
    found = subprocess.run([sys.executable, "-c", BLOCKS], capture_output=True, text=True, check=True)
    assert float(found.stdout) > 150
