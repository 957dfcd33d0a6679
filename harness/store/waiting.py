"""Waits for the claims of other processes, and names a process that was stopped (Ctrl-Z, SIGSTOP) and keeps them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from mipo_bench.harness.store.claims import Claims, process_id


class Wait:
    """One wait. Once it has lasted `claims.patience`, each stopped process is named once with `claims.say`."""

    def __init__(self, claims: Claims) -> None:
        """The wait begins now."""
        self._claims = claims
        self._began, self._since = time.monotonic(), datetime.now().astimezone()
        self._named: set[str] = set()

    def sleep(self, keys: Sequence[str], seconds: float) -> None:
        """Sleep a part of the wait for these keys."""
        time.sleep(seconds)
        if time.monotonic() - self._began < self._claims.patience:
            return
        for owner, held in self._claims.holders(keys).items():
            if owner not in self._named and is_stopped(process_id(owner)):
                self._named.add(owner)
                self._claims.say(self._line(process_id(owner), held))

    def _line(self, process: int, held: Sequence[str]) -> str:
        return (
            f"! process {process} is stopped and keeps {len(held)} claims (such as {held[0][:12]}), for which this one"
            f" has waited since {self._since:%H:%M:%S}: `kill -CONT {process}` lets it go on, `kill -9 {process}` frees"
            " its claims"
        )


def is_stopped(process: int) -> bool:
    """Whether a process of this machine, on whose disk the store lies, is stopped: it does nothing until continued."""
    import psutil

    try:
        return bool(psutil.Process(process).status() == psutil.STATUS_STOPPED)
    except psutil.Error:  # it has ended, or this user may not look at it
        return False
