"""`python -m mipo_bench.harness`, the command line as a module, for launchers of several processes (torchrun)."""

from __future__ import annotations

from mipo_bench.harness.cli import main

if __name__ == "__main__":
    main()
