"""When the other processes of a run are started: at once where there is no store, else once work is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.core.progress import SilentDisplay
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.run import session
from mipo_bench.harness.store.run_store import Store


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens until the model is checked, which fails."""
    found: list[str] = []

    @contextmanager
    def starter(*_: object) -> Iterator[object]:
        yield lambda: found.append("workers")
        found.append("not reached: the run fails")

    def check(*_: object) -> None:
        found.append("check")
        raise ModelError("no model")

    monkeypatch.setattr(session, "worker_starter", starter)
    monkeypatch.setattr(session, "_starter", check)
    return found


@pytest.mark.parametrize(
    ("items", "processes", "stored", "expected"),
    [
        (300, 2, False, ["workers", "check"]),
        (300, 2, True, ["check"]),
        (300, 1, False, ["check"]),
        (20, 2, False, ["check"]),
    ],
    ids=["no store", "a store", "one process", "few items"],
)
def test_workers_load_the_libraries_while_the_first_process_does(
    items: int, processes: int, stored: bool, expected: list[str], events: list[str], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    if stored:
        with closing(Store(store)):
            pass
    given = {"tasks": ["arithmetic"], "limit": items, "processes": processes, "store": str(store)}
    config = load_config(None, [], {**given, "out": str(tmp_path / "out")})
    with pytest.raises(ModelError, match="no model"):
        session.execute(session.prepare(config), SilentDisplay())
    assert events == expected
    assert store.exists() == stored, "a run that cannot start makes no store"
