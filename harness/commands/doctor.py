"""`mipo-bench doctor`: prints each finding of `run.preflight` as soon as it is known."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mipo_bench.harness.config.loading import preset_notes
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.redaction import redact
from mipo_bench.harness.core.text import without_control_characters
from mipo_bench.harness.run.preflight import can_start, examine
from mipo_bench.harness.startup.findings import Finding

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def run_doctor(config: RunConfig) -> int:
    """Print the findings and return the exit code: 0, or 1 if the run cannot start."""
    console = Console(highlight=False)
    findings = []
    for finding in examine(config):
        findings.append(finding)
        console.print(_row(finding))
    for note in preset_notes(config):
        console.print(_row(Finding("preset", "ok", note.partition(" ")[2])))
    if can_start(findings):
        console.print("The run can start.")
        return 0
    console.print("The run cannot start: see the lines marked fail.")
    return 1


def _row(finding: Finding) -> Table:
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_column(width=4)
    row.add_column(width=8)
    row.add_column(overflow="fold")
    row.add_row(
        Text(finding.state, style=_STYLES[finding.state]),
        finding.what,
        Text(without_control_characters(redact(finding.text))),
    )
    return row
