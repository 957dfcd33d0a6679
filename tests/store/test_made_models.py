"""Models that the store makes of a file: once, whole or not at all, and kept while they are used."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from golden_files import run
from made_reports import RUNS, made_store

from mipo_bench.harness.core.file_locks import is_free
from mipo_bench.harness.errors import StorageError
from mipo_bench.harness.store.made_models import RECORD, drop_unused, find_model, made_model, made_models
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.upkeep.garbage import collect

HOLDER = """
import sys, time
from pathlib import Path
from mipo_bench.harness.store.made_models import made_model

def make(folder):
    (folder / "config.json").write_text("{}")
    print("making", flush=True)
    time.sleep(float(sys.argv[2]))
    return {}

made_model(Path(sys.argv[1]), "key", make)
print("made", flush=True)
time.sleep(60)
"""


def writer(text: str = "{}") -> Callable[[Path], dict[str, object]]:
    def make(folder: Path) -> dict[str, object]:
        (folder / "config.json").write_text(text)
        return {"notes": []}

    return make


def never(_: Path) -> dict[str, object]:
    raise AssertionError("the model is made again")


def holder(store: Path, seconds: float, said: str) -> subprocess.Popen[str]:
    """Another process that makes a model, and then uses it; it has said `said`."""
    found = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert found.stdout
    while (line := found.stdout.readline().strip()) != said:
        assert line
    return found


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_model_is_made_once(tmp_path: Path) -> None:
    folder = made_model(tmp_path, "key", writer())
    assert (folder, find_model(tmp_path, "other")) == (find_model(tmp_path, "key"), None)
    assert made_model(tmp_path, "key", never) == folder
    assert (tmp_path / ".gitignore").read_text() == "*\n"


def test_a_model_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    def make(folder: Path) -> dict[str, object]:
        (folder / "config.json").write_text("{}")
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match=r"No space left on device.*--set store=DIR"):
        made_model(tmp_path, "key", make)
    assert [path.name for path in (tmp_path / "models").iterdir()] == [".making"]


@pytest.mark.parametrize("damage", ["config.json", RECORD])
def test_a_damaged_model_is_made_again(damage: str, tmp_path: Path) -> None:
    folder = made_model(tmp_path, "key", writer())
    (folder / damage).write_text("forged")
    assert find_model(tmp_path, "key") is None
    made_model(tmp_path, "key", writer())
    assert (folder / "config.json").read_text() == "{}"
    assert find_model(tmp_path, "key") == folder


def test_several_at_once_make_it_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> dict[str, object]:
        made.append(folder)
        time.sleep(0.05)
        return writer()(folder)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: made_model(tmp_path, "key", make), range(8)))
    assert set(found) == {tmp_path / "models" / "key"}
    assert len(made) == 1


@pytest.mark.slow
def test_a_killed_process_leaves_no_model(tmp_path: Path) -> None:
    kill(holder(tmp_path, 60, "making"))
    assert made_models(tmp_path) == []
    assert len(list((tmp_path / "models").glob("new-*"))) == 1
    made_model(tmp_path, "key", writer())
    assert sorted(os.listdir(tmp_path / "models")) == [".making", "key"]


@pytest.mark.slow
def test_a_wait_for_another_process_is_shown(tmp_path: Path) -> None:
    other = holder(tmp_path, 0.5, "making")
    said: list[str] = []
    made_model(tmp_path, "key", never, said.append)
    kill(other)
    assert said == [f"waiting for another process, which makes a model in {tmp_path / 'models'}"]


@pytest.mark.slow
def test_a_model_in_use_is_no_garbage(tmp_path: Path) -> None:
    other = holder(tmp_path, 0, "made")
    assert drop_unused(tmp_path, set(), dry_run=False) == []
    kill(other)
    (unused,) = drop_unused(tmp_path, set(), dry_run=True)
    assert is_free(unused.folder)
    assert drop_unused(tmp_path, {unused.digest}, dry_run=False) == []
    assert drop_unused(tmp_path, set(), dry_run=False) == [unused]
    assert made_models(tmp_path) == []


def unused_model(store: Path, key: str, digest: str) -> Path:
    """A model in a store that no process uses."""
    folder = store / "models" / key
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(json.dumps({"digest": digest}))
    return folder


def test_garbage_collection_keeps_the_models_of_kept_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_store(tmp_path / "store")
    kept = unused_model(tmp_path / "store", "kept", RUNS[-1].report().model.digest)
    gone = unused_model(tmp_path / "store", "gone", "another")
    assert "dequantised models" in run(f"store ls --store {tmp_path / 'store'}", capsys).text("")
    with closing(Store(tmp_path / "store")) as store:
        assert collect(store, 1, dry_run=True).counts["dequantised models"] == 1
        assert gone.exists()
        assert collect(store, 1, dry_run=False).counts["dequantised models"] == 1
    assert (kept.exists(), gone.exists()) == (True, False)
