"""Judges on a chat server that refuses everything, or does not take every parameter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_judges import Letters, Recorder
from openai_server import Reply, Script, chat_reply, scripted

from mipo_bench.harness.config.judge_spec import JudgeSpec
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.core.progress import Stage
from mipo_bench.harness.errors import ModelError, ServerError
from mipo_bench.harness.judging.assign import AssignedJudge, load_judge
from mipo_bench.harness.judging.bench import JudgedPair, TaskJudge
from mipo_bench.harness.judging.validation import check, labels_of
from mipo_bench.harness.protocols import Question
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Item

CONFIG = load_config(None, ["judge.temperature=0"], {})
CASES = [JudgedPair(Item(f"i{n}", f"Request {n}", "", None), "Be brief.", f"Yes {n}.", "No.") for n in range(8)]


def judge_on(server: Script, store: Store) -> TaskJudge:
    return TaskJudge(load_judge(JudgeSpec.parse(f"openai:m@{server.url}"), CONFIG), CONFIG.judge, store)


@pytest.mark.parametrize("status", [400, 403])
def test_a_judge_that_refuses_everything_ends_with_one_message_in_place_of_unread_verdicts(
    status: int, tmp_path: Path
) -> None:
    with (
        scripted(lambda *_: Reply(status, "no")) as server,
        pytest.raises(ModelError, match=rf"refuses every request.* {status} .*Tried POST {server.url}/chat/compl"),
    ):
        judge_on(server, Store(tmp_path)).judge(CASES, Stage("judging", "verdicts"))


def test_a_report_tells_what_its_judge_was_not_asked_with_also_for_stored_verdicts(tmp_path: Path) -> None:
    def picky(body: dict[str, Any], _: int) -> Reply:
        refused = Reply(400, "Unsupported value: 'temperature'") if "temperature" in body else None
        return refused or chat_reply("Verdict: tie")

    with scripted(picky) as server:
        for _ in range(2):
            judge = judge_on(server, Store(tmp_path))
            judge.judge(CASES, Stage("judging", "verdicts"))
            found = [(w.code, w.message) for w in judge.record("t", None, None).warnings]
            assert [code for code, _ in found] == ["judge_requests"] * 2
            assert "the judge: responses with temperature 0 are not greedy" in found[1][1]
            asked = len(server.asked)
            server.asked.clear()
    assert asked == 0


def test_a_server_that_stops_answering_ends_check_judge_with_one_message(tmp_path: Path) -> None:
    def silent(_: Question) -> float:
        raise ServerError("the server http://localhost/v1 did not answer")

    judge, labels = AssignedJudge(Recorder(silent), "server"), labels_of(Letters(), 2)
    with pytest.raises(ModelError, match=r"did not answer\. The verdicts so far are kept"):
        check(judge, labels, CONFIG.judge, Store(tmp_path), Stage("judging", "verdicts"))
