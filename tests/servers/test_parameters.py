"""Servers that do not take every parameter: what their message names is left out, and the notes say so."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from openai_server import Reply, chat_reply, engine, scripted

from mipo_bench.harness.protocols import Request
from mipo_bench.harness.servers.parameters import refused_parameter
from mipo_bench.harness.servers.replies import ErrorMessage
from mipo_bench.harness.types import Decoding, Message, Response

SENT = {"temperature": 0.1, "top_p": 0.9, "max_tokens": 16, "seed": 1, "stop": ["Q:"], "model": "m", "messages": []}
Server = Callable[[dict[str, Any], int], Reply]


def error(message: str, **more: str) -> Reply:
    return Reply(400, json.dumps({"error": {"message": message, **more}}))


def completion_tokens_only(body: dict[str, Any], _: int) -> Reply:
    if "max_tokens" in body:
        text = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        return error(text, param="max_tokens")
    if body.get("temperature", 1) != 1:
        return error("Unsupported value: 'temperature' does not support 0.1 with this model.", param="temperature")
    return chat_reply("18")


def one_sampler(body: dict[str, Any], _: int) -> Reply:
    both = "temperature" in body and "top_p" in body
    return error("`temperature` and `top_p` cannot both be specified for this model.") if both else chat_reply("18")


def ask(server: Server, count: int, temperature: float) -> tuple[list[Response], list[dict[str, Any]], list[str]]:
    """The responses to some requests, the bodies that were received, and the notes."""
    with scripted(server) as script:
        served = engine(script.url, num_concurrent=1)
        decoding = Decoding(16, temperature, 0.9)
        prompts = [served.base.render([Message("user", str(n))], None).text for n in range(count)]
        answers = list(served.base.generate([Request(prompt, 1, decoding) for prompt in prompts]))
    return [answer for _, answer in answers], script.asked, served.notes


def test_a_request_is_sent_again_with_what_the_error_names_and_later_ones_are_sent_so_at_once() -> None:
    answers, bodies, notes = ask(completion_tokens_only, 3, 0.1)
    assert [answer.text for answer in answers] == ["18"] * 3
    assert len(bodies) == 5
    assert all(body["max_completion_tokens"] == 16 for body in bodies[1:])
    assert [("max_tokens" in body, "temperature" in body) for body in bodies] == [
        (True, True),
        (False, True),
        *[(False, False)] * 3,
    ]
    assert any("sent as max_completion_tokens" in note for note in notes)
    assert any("takes no temperature" in note for note in notes)
    assert not any("greedy" in note for note in notes)


def test_a_greedy_run_without_a_temperature_is_said_to_be_none() -> None:
    _, _, notes = ask(completion_tokens_only, 1, 0.0)
    assert "responses with temperature 0 are not greedy: the server takes no temperature" in notes


def test_of_two_samplers_the_temperature_stays() -> None:
    answers, bodies, notes = ask(one_sampler, 2, 0.1)
    assert [answer.text for answer in answers] == ["18"] * 2
    assert ["top_p" in body for body in bodies] == [True, False, False]
    assert all(body["temperature"] == 0.1 for body in bodies)
    assert any("takes no top_p" in note for note in notes)


def test_an_ordinary_server_gets_every_parameter_and_there_is_no_note() -> None:
    _, (body,), notes = ask(lambda *_: chat_reply("18"), 1, 0.1)
    assert set(body) == {"model", "messages", "temperature", "top_p", "max_tokens", "seed"}
    assert not any("takes no" in note for note in notes)


@pytest.mark.parametrize(
    ("message", "parameter", "name"),
    [
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens", "max_tokens"),
        ("Unsupported parameter: 'max_tokens'.", "max_tokens", None),
        ("'max_tokens' or 'max_completion_tokens' is too large: 256. The context length is 128.", "max_tokens", None),
        ("'temperature' does not support 0 with this model. Only the default (1) is supported.", None, "temperature"),
        ("`temperature` is deprecated for this model.", None, "temperature"),
        ("invalid temperature: only 1 is allowed for this model", None, "temperature"),
        ("Only one of temperature and top_p is supported", None, "top_p"),
        ("Unrecognized request argument supplied: seed", None, "seed"),
        ('Unknown name "seed": cannot find field', None, "seed"),
        ("body.seed: Extra inputs are not permitted", None, "seed"),
        ("Unsupported parameter: 'stop' is not supported with this model.", "stop", "stop"),
        ("Images are not supported: stop sending them.", None, None),
        ("Unknown parameter: 'seed'. Known: model, messages, temperature, top_p", None, "seed"),
        ("temperature must be between 0 and 1", "temperature", None),
        ("System role not supported", None, None),
        ("Unsupported value: messages[0].role", "messages[0].role", None),
        ("", None, None),
    ],
)
def test_only_a_parameter_that_is_not_taken_is_left_out(message: str, parameter: str | None, name: str | None) -> None:
    assert refused_parameter(SENT, ErrorMessage(message, parameter)) == name


def test_a_parameter_that_was_not_sent_is_not_left_out_again() -> None:
    body = {"model": "m", "top_p": 0.9}
    assert refused_parameter(body, ErrorMessage("Unsupported parameter: 'temperature'", "temperature")) is None
    answers, bodies, _ = ask(lambda *_: error("Unsupported parameter: 'seed'", param="seed"), 1, 0.1)
    assert (answers[0].finish, len(bodies)) == ("refused", 2)
