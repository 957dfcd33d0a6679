"""The default folders of the run store and of the report, both relative to the working directory."""

from __future__ import annotations

from pathlib import Path

DEFAULT_STORE = Path(".mipo-bench")
DEFAULT_REPORT = Path("mipo-bench-report")
