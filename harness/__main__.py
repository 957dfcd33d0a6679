"""`python -m mipo_bench.harness`, which launchers of several processes can start."""

from __future__ import annotations

from mipo_bench.harness.cli import main

if __name__ == "__main__":
    main()
