"""The settings of a run on a Ray cluster."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from mipo_bench.harness.config.values import ConfigSection, UserPath, Whole

LOCAL, AUTO = "ray", "ray:auto"
_FORMS = f"write {LOCAL} (RAY_ADDRESS, or a cluster on this machine alone), ray:HOST:PORT, or {AUTO}"


def _address(text: str) -> str:
    """The address of a cluster, checked. Raises ValueError."""
    if "://" in text:
        raise ValueError(
            "Ray Client is not supported: start the run on a machine of the cluster (a node with --num-gpus=0 will do),"
            f" and {_FORMS}"
        )
    if text in (LOCAL, AUTO):
        return text
    kind, _, place = text.partition(":")
    host, _, port = place.rpartition(":")
    if kind != "ray" or not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ValueError(_FORMS)
    return text


class ClusterConfig(ConfigSection):
    """A Ray cluster whose hosts answer and train ([cluster](cluster.md)). It changes no result and is in no report."""

    address: Annotated[str, AfterValidator(_address)] | None = None
    """None: no cluster. ray: RAY_ADDRESS, or a cluster on this machine; ray:HOST:PORT; ray:auto: a running one."""
    hosts: Annotated[Whole, Field(ge=0)] = 0
    """Hosts, each with one GPU, or with `threads` cores where there is none; 0 takes all that fit."""
    patience: Annotated[float, Field(gt=0)] = 300.0
    """Seconds without any host after which the run ends; the same command goes on later."""
    checkpoints: UserPath | None = None
    """A folder that all nodes see, for the files of checkpoints; None sends them to the driver's store."""
