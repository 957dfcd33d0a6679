"""The worker of a training with FSDP2 forced on a CPU, where accelerate would ignore it: its path can be tested.

`accelerate launch` starts it as a script.
"""

from __future__ import annotations

import sys
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

from mipo_bench.harness.training.distributed import worker


def force_fsdp() -> None:
    """Let processes that are connected over CPUs take the place of GPUs."""
    make = AcceleratorState.__init__

    def make_and_force(self: Any, *args: Any, fsdp_plugin: Any = None, **options: Any) -> None:
        make(self, *args, fsdp_plugin=fsdp_plugin, **options)
        if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.FSDP
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            self.fsdp_plugin = fsdp_plugin

    AcceleratorState.__init__ = make_and_force


if __name__ == "__main__":
    force_fsdp()
    worker.main(sys.argv[1:])
