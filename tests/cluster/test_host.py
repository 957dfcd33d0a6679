"""A host with the embedded model: it answers and trains like a run in this process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from mipo_bench.harness.backends.hf import HFBackend
from mipo_bench.harness.cluster.host import KEPT, Host, scratch_folder
from mipo_bench.harness.cluster.wire import Answers, Failed, Link, Piece, Trained, Unknown, pieces_of, put_piece
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.core.hashing import folder_digest, model_digest
from mipo_bench.harness.protocols import Arm, LikelihoodRequest, Pair, Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.types import Decoding, Message

pytestmark = pytest.mark.training
CONFIG = load_config(None, ["threads=1", "train.batch_size=2"], {"recipes": ["mipo-random"]})
ASKED = [Request(f"Question {n}: what is 2 and {n}?", n, Decoding(5, 0.7, 0.9)) for n in range(6)]
PROMPT = (Message("user", "What is 2 and 3?"),)
PAIRS = PairSet(tuple(Pair(str(n), PROMPT, f"It is {n}.", f"They say {n + 1}.") for n in range(4)), {}, "pairs")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with closing(Host(CONFIG, tmp_path_factory.mktemp("host"))) as found:
        yield found


def arm(seed: int) -> Arm:
    return Arm("arithmetic", "plain", "mipo-random", seed)


def trained(host: Host, seed: int, folder: Path) -> Trained:
    """The end of a training whose files are written to `folder`."""
    *pieces, end = host.train(arm(seed), PAIRS)
    assert isinstance(end, Trained), end
    for piece in pieces:
        assert isinstance(piece, Piece)
        put_piece(folder, piece)
    return end


def rows(reply: object) -> list[tuple[int, object]]:
    assert isinstance(reply, Answers), reply
    return sorted(reply.rows)


def test_it_does_the_same_as_a_run_in_this_process(host: Host, tmp_path: Path) -> None:
    with closing(Store(tmp_path / "store")) as store:
        local = HFBackend(CONFIG, host._backend.folder, host.facts.placement, store)
        assert rows(host.answer(host.facts.model_digest, ASKED)) == sorted(local.base.generate(ASKED))
        texts = [LikelihoodRequest(ASKED[0].prompt, ("5", "a long text"))]
        assert rows(host.likelihoods(host.facts.model_digest, texts)) == sorted(local.base.likelihoods(texts))
        here = local.trained(arm(0), PAIRS, lambda *_: None)
        there = trained(host, 0, tmp_path / "received")
        assert there.weights == here.digest == model_digest(tmp_path / "received")
        assert there.folder_digest == folder_digest(tmp_path / "received")
        assert there.steps == 2
        assert rows(host.answer(there.weights, ASKED)) == sorted(here.generator.generate(ASKED))


def test_a_checkpoint_moves_to_another_host(host: Host, tmp_path: Path) -> None:
    weights = trained(host, 1, tmp_path / "received").weights
    with closing(Host(CONFIG, tmp_path / "other")) as other:
        assert isinstance(other.answer(weights, ASKED), Unknown)
        for piece in (*pieces_of(tmp_path / "received", 100_000), None):
            assert other.take(weights, piece) is None
        assert rows(other.answer(weights, ASKED)) == rows(host.answer(weights, ASKED))
        damaged = [*pieces_of(tmp_path / "received"), None]
        failed = [other.take("0" * 64, piece) for piece in damaged][-1]
        assert isinstance(failed, Failed)
        assert "damaged" in failed.message
    assert not (tmp_path / "other").exists()


def test_checkpoints_stay_in_a_folder_that_all_see(host: Host, tmp_path: Path) -> None:
    root, driver = tmp_path / "shared", tmp_path / "driver"
    root.mkdir()
    config = CONFIG.model_copy(update={"cluster": CONFIG.cluster.model_copy(update={"checkpoints": root})})
    with closing(Host(config, tmp_path / "one")) as one:
        *links, end = one.train(arm(1), PAIRS)
        assert isinstance(end, Trained), end
        for link in links:
            assert isinstance(link, Link)
            put_piece(driver, link)
        assert (folder_digest(driver), model_digest(driver)) == (end.folder_digest, end.weights)
        answers = rows(one.answer(end.weights, ASKED))
    with closing(Host(config, tmp_path / "two")) as two:
        for part in (*pieces_of(driver), None):
            assert two.take(end.weights, part) is None
        assert rows(two.answer(end.weights, ASKED)) == answers
    assert [path.name for path in root.iterdir()] == [end.folder_digest]
    assert folder_digest(root / end.folder_digest) == end.folder_digest, "hosts that end leave it alone"


def test_it_keeps_the_latest_checkpoints_only(host: Host, tmp_path: Path) -> None:
    weights = [trained(host, seed, tmp_path / str(seed)).weights for seed in range(2, 3 + KEPT)]
    known = [isinstance(host.answer(name, ASKED[:1]), Answers) for name in weights]
    assert known == [False] + [True] * KEPT
    trained(host, 4, tmp_path / "again")  # found in its folder
    assert len(list(host._store.checkpoints.folder.iterdir())) == KEPT


def test_an_error_is_a_record(host: Host) -> None:
    (failed,) = host.train(arm(0), PairSet((), {}, "none"))
    assert isinstance(failed, Failed)
    assert failed.message


def test_the_folders_of_dead_hosts_are_removed(tmp_path: Path) -> None:
    dead, young, live = (scratch_folder(tmp_path) for _ in range(3))
    with closing(Store(live)) as store:
        store.claims.join()
        for folder in (dead, live):
            os.utime(folder, (time.time() - 3600,) * 2)
        new = scratch_folder(tmp_path)
        assert {path for path in tmp_path.iterdir() if path.is_dir()} == {young, live, new}


def test_two_hosts_that_start_at_once_remove_the_same_folders(tmp_path: Path) -> None:
    for n in range(40):
        (tmp_path / f"old-{n}").mkdir()
        os.utime(tmp_path / f"old-{n}", (0, 0))
    with ThreadPoolExecutor(8) as executor:
        new = set(executor.map(lambda _: scratch_folder(tmp_path), range(8)))
    assert set(tmp_path.iterdir()) == new
