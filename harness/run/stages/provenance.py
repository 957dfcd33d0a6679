"""The provenance of a report: the commit and the machine of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.git import git_state
from mipo_bench.harness.core.provenance import package_versions
from mipo_bench.reports.records.report import Provenance


def provenance(config: RunConfig, machine: Mapping[str, str | int]) -> Provenance:
    """The commit of the working directory, package versions, and the hardware of the `machine` that computed."""
    git = git_state(Path.cwd(), (config.out, config.store))
    return Provenance(
        commit=git.commit if git else None,
        dirty=git.dirty if git else False,
        diff_hash=git.diff_hash if git else None,
        versions=package_versions(),
        hardware=dict(machine),
    )
