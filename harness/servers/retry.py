"""The retry policy for all requests to a server: transient failures and exponential backoff."""

from __future__ import annotations

import time
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exception,
    wait_exponential,
    wait_random_exponential,
)

from mipo_bench.harness.errors import MipoBenchError

T = TypeVar("T")
RETRY_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""HTTP statuses of transient failures."""
MAX_BACKOFF = 60.0
"""The longest pause between two attempts in seconds, even if the server asks for a longer one."""


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with equal jitter: half of each pause is fixed, the other half is random.

    `attempts` includes the first one. `pause` is the upper limit of the first pause in seconds; the limit doubles with
    each further pause, up to MAX_BACKOFF. A longer `Retry-After` of the server takes precedence, up to the same limit.
    """

    attempts: int = 1
    pause: float = 1.0
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time
    """Seconds since the epoch."""

    def call(self, request: Callable[[], T]) -> T:
        """The result of `request`, which is repeated after transient failures. Raises the error of the last attempt."""
        return Retrying(
            stop=stop_after_attempt(self.attempts),
            wait=self._wait,
            retry=retry_if_exception(_is_transient),
            sleep=self.sleep,
            reraise=True,
        )(request)

    def _wait(self, state: RetryCallState) -> float:
        half = {"multiplier": self.pause / 2, "max": MAX_BACKOFF / 2}
        backoff = wait_exponential(**half)(state) + wait_random_exponential(**half)(state)
        requested = wait_exception(lambda error: _retry_after(error, self.now()))(state)
        return min(max(backoff, requested), MAX_BACKOFF)


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an error of urllib or requests; None if the server sent none."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code
    return getattr(getattr(error, "response", None), "status_code", None)


def is_refusal(error: BaseException) -> bool:
    """Whether a server rejected the request with a status that another attempt would not change."""
    status = status_of(error)
    return status is not None and status not in RETRY_STATUSES


def _is_transient(error: BaseException) -> bool:
    """Whether another attempt makes sense: no reply, a broken reply, or a status in RETRY_STATUSES."""
    if isinstance(error, MipoBenchError) or not isinstance(error, Exception):
        return False
    return not is_refusal(error)


def _retry_after(error: BaseException, now: float) -> float:
    """The seconds that the header `Retry-After` asks to wait: a number or a date (RFC 9110, section 10.2.3); else 0."""
    reply = error if isinstance(error, urllib.error.HTTPError) else getattr(error, "response", None)
    value = str((getattr(reply, "headers", None) or {}).get("Retry-After", ""))
    try:
        return float(value)
    except ValueError:
        return _seconds_until(value, now)


def _seconds_until(date: str, now: float) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - now
    except (ValueError, TypeError):
        return 0.0
