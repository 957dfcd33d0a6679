"""The folders that commands use where no other is named; both are relative to the working directory."""

from __future__ import annotations

from pathlib import Path

DEFAULT_STORE = Path(".mipo-bench")
DEFAULT_REPORT = Path("mipo-bench-report")
