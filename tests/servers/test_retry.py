"""The retry policy: transient failures and the pauses between attempts, on a fake clock."""

from __future__ import annotations

import urllib.error
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.message import Message
from email.utils import formatdate

import pytest
import requests

from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.servers.retry import MAX_BACKOFF, RETRY_STATUSES, RetryPolicy, status_of

NOW = 1_800_000_000.0


@dataclass
class Clock:
    """A clock that does not advance and records the pauses."""

    pauses: list[float] = field(default_factory=list)

    def policy(self, attempts: int, pause: float = 1.0) -> RetryPolicy:
        return RetryPolicy(attempts, pause, sleep=self.pauses.append, now=lambda: NOW)


def raising(errors: Sequence[BaseException]) -> Callable[[], str]:
    """A request that fails with these errors in turn, and then succeeds."""
    left = list(errors)

    def request() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return request


def http(status: int, retry_after: str | None = None) -> urllib.error.HTTPError:
    headers = Message()
    if retry_after is not None:
        headers["Retry-After"] = retry_after
    return urllib.error.HTTPError("http://host", status, "no", headers, None)


def of_requests(status: int, retry_after: str | None = None) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    if retry_after is not None:
        response.headers["Retry-After"] = retry_after
    return requests.HTTPError("no", response=response)


TRANSIENT = [TimeoutError(), ConnectionResetError(), ValueError("half a reply"), *map(http, RETRY_STATUSES)]
LASTING = [ModelError("no key"), *map(http, (400, 413, 422, 401, 403, 404, 302)), of_requests(400)]


@pytest.mark.parametrize("error", [*TRANSIENT, of_requests(503)], ids=repr)
def test_a_transient_failure_is_retried(error: Exception) -> None:
    clock = Clock()
    assert clock.policy(3).call(raising([error, error])) == "answer"
    assert len(clock.pauses) == 2


@pytest.mark.parametrize("error", [*LASTING, KeyboardInterrupt()], ids=repr)
def test_any_other_failure_is_raised_at_once(error: BaseException) -> None:
    clock = Clock()
    with pytest.raises(type(error)) as caught:
        clock.policy(3).call(raising([error]))
    assert caught.value is error
    assert not clock.pauses


def test_the_error_of_the_last_attempt_is_raised() -> None:
    clock, errors = Clock(), [http(500), http(429), http(503), http(502)]
    with pytest.raises(urllib.error.HTTPError) as caught:
        clock.policy(3).call(raising(errors))
    assert caught.value is errors[2]
    assert len(clock.pauses) == 2


def test_the_backoff_doubles_up_to_a_cap_and_half_of_it_is_random() -> None:
    limits = [2.0, 4.0, 8.0, 16.0, 32.0, MAX_BACKOFF, MAX_BACKOFF]
    series = []
    for _ in range(20):
        clock = Clock()
        clock.policy(8, 2.0).call(raising([TimeoutError()] * 7))
        series.append(clock.pauses)
        assert all(limit / 2 <= pause <= limit for pause, limit in zip(clock.pauses, limits, strict=True))
    assert len({tuple(pauses) for pauses in series}) == len(series)


def test_one_attempt_is_not_followed_by_a_pause() -> None:
    clock = Clock()
    with pytest.raises(TimeoutError):
        clock.policy(1).call(raising([TimeoutError()]))
    assert not clock.pauses


@pytest.mark.parametrize("error", [http, of_requests])
@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [("7", 7.0), ("7.5", 7.5), (formatdate(NOW + 30, usegmt=True), 30.0), ("3600", MAX_BACKOFF), ("inf", MAX_BACKOFF)],
)
def test_retry_after_is_honoured_up_to_the_cap(
    error: Callable[[int, str], Exception], retry_after: str, pause: float
) -> None:
    clock = Clock()
    clock.policy(2).call(raising([error(429, retry_after)]))
    assert clock.pauses == [pytest.approx(pause)]


@pytest.mark.parametrize("retry_after", ["0", "-5", "nan", "soon", "", formatdate(NOW - 60, usegmt=True)])
def test_retry_after_never_shortens_the_backoff(retry_after: str) -> None:
    clock = Clock()
    clock.policy(2).call(raising([http(503, retry_after)]))
    assert 0.5 <= clock.pauses[0] <= 1.0


def test_the_status_of_an_error_is_found_whichever_client_raised_it() -> None:
    assert [status_of(e) for e in (http(429), of_requests(400), TimeoutError())] == [429, 400, None]
