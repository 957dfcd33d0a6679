"""The connection of a run to a Ray cluster: its address, its start, and its silence."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, Queue

from mipo_bench.harness.config.cluster import AUTO, LOCAL
from mipo_bench.harness.errors import ClusterError, first_line

_LISTEN_SECONDS, _JOIN_SECONDS = 8, 20
"""Time limits of two steps: to find that something listens, and that it is a Ray cluster."""
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else `uv run` sends the working folder to the cluster
}


def check_ray() -> None:
    """Raise ClusterError where Ray is not installed."""
    from importlib.util import find_spec

    if find_spec("ray") is None:
        raise ClusterError("--cluster needs Ray, which is not installed: pip install 'mipo-bench[ray]', on every node.")


def reachable(address: str) -> str:
    """The address as `ray.init` takes it, after a look whether something listens there. Raises ClusterError."""
    given = os.environ.get("RAY_ADDRESS", "")
    found = address.removeprefix("ray:") if address != LOCAL else given or "local"
    if address == AUTO:
        from ray._private.services import get_ray_address_from_environment

        try:
            found = get_ray_address_from_environment("auto", None)
        except ConnectionError as error:
            raise ClusterError(
                "ray:auto found no running cluster. Start one (`ray start --head`), or give ray:HOST:PORT."
            ) from error
    if "://" in found:
        raise ClusterError(f"RAY_ADDRESS = {found!r}: Ray Client is not supported; give --cluster ray:HOST:PORT.")
    if found != "local":
        _check_listens(found)
    return found


def _check_listens(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_LISTEN_SECONDS):
            pass
    except (OSError, ValueError, OverflowError) as error:
        raise ClusterError(
            f"no Ray cluster answers at {address} ({error}). Start one there (`ray start --head`), or correct --cluster"
            " or RAY_ADDRESS."
        ) from error


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect to a cluster, or start one here, and leave it at the end. Raises ClusterError."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if address == "local":
        _begin(address, include_dashboard=False)
    else:
        _join(address)
    try:
        yield
    finally:
        ray.shutdown()


def _join(address: str) -> None:
    """Connect within the time limit: Ray itself waits for minutes, and no signal ends that wait."""
    outcome = Queue[ClusterError | None]()

    def connect() -> None:
        try:
            _begin(address)
            outcome.put(None)
        except ClusterError as error:
            outcome.put(error)

    threading.Thread(target=connect, daemon=True).start()
    try:
        error = outcome.get(timeout=_JOIN_SECONDS)
    except Empty:
        error = ClusterError(f"{address} answers, but not as a Ray cluster (head) in {_JOIN_SECONDS} seconds.")
    if error is not None:
        raise error


def _begin(address: str, **options: bool) -> None:
    import ray

    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, **options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, ray.exceptions.RayError) as error:
        raise ClusterError(f"the Ray cluster at {address} cannot be used: {first_line(error)}") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # Ray's own handler would end the run with a stack of C++


@contextmanager
def on_stderr() -> Iterator[None]:
    """Send what Ray prints to the standard error: the standard output has the report alone."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # the shell has closed it
        yield
        return
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
