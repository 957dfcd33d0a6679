"""The parameters of requests that a chat server does not take, as its error messages name them.

Some models take only `max_completion_tokens`, refuse `temperature`, or refuse `top_p` beside it. Such a request is
sent once more without the named parameter, and all later requests are sent in the same way.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mipo_bench.harness.servers.replies import ErrorMessage

_LEFT_OUT = {
    "temperature": "the server takes no temperature: it was left out, and the server's own applies",
    "top_p": "the server takes no top_p beside the other parameters: it was left out",
    "seed": "the server takes no seed: it was left out, and sampled answers differ from run to run",
    "stop": "the server takes no stop strings: they were left out, and responses are cut here",
    "max_tokens": "the server takes no max_tokens: the limit was sent as max_completion_tokens, which can count hidden"
    " thoughts too",
}
"""Parameters that a request can do without -> the report's note."""
_NOT_GREEDY = "responses with temperature 0 are not greedy: the server takes no temperature"
_UNSUPPORTED = re.compile(
    r"unsupported|not (be )?(support|allow|permit|recogni[sz]|accept)|doesn't support|unrecogni[sz]ed|unknown"
    r"|unexpected|extra (inputs|fields|field)|deprecated|cannot both|mutually exclusive"
    r"|only .{0,60}(support|allow|accept|specif)",
    re.IGNORECASE,
)
"""Words of a message that a parameter is not taken at all. A value out of range is another matter."""
_NOT_TOGETHER = re.compile(r"\bboth\b|\beither\b|one of|together|mutually", re.IGNORECASE)


@dataclass
class TakenParameters:
    """The parameters that a server takes. Several threads may use it."""

    left_out: set[str] = field(default_factory=set, init=False)
    notes: list[str] = field(default_factory=list, init=False)
    """The report's notes on the requests that were sent without a parameter."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body of a request without the parameters that the server refuses."""
        with self._lock:
            sent = {name: value for name, value in body.items() if name not in self.left_out}
            dropped = [name for name in body if name not in sent]
            if "max_tokens" in dropped:
                sent["max_completion_tokens"] = body["max_tokens"]
            notes = [_LEFT_OUT[name] for name in dropped]
            notes += [_NOT_GREEDY] if "temperature" in dropped and body["temperature"] == 0 else []
            self.notes += [note for note in notes if note not in self.notes]
        return sent

    def learn(self, sent: Mapping[str, Any], message: ErrorMessage) -> bool:
        """Whether the message names a parameter of the request that can be left out. It is left out from now on."""
        name = refused_parameter(sent, message)
        with self._lock:
            self.left_out |= {name} if name else set()
        return name is not None


def refused_parameter(sent: Mapping[str, Any], message: ErrorMessage) -> str | None:
    """The first parameter of a request that a message says is not taken; None if there is none to leave out.

    Of `temperature` and `top_p`, which cannot be sent together, it is `top_p`. `max_tokens` counts only if the message
    names `max_completion_tokens`, because a request without a limit could be long.
    """
    text = message.text
    if not _UNSUPPORTED.search(text):
        return None
    if "top_p" in sent and _NOT_TOGETHER.search(text) and "temperature" in text and "top_p" in text:
        return "top_p"
    if message.parameter in _LEFT_OUT:
        named = [message.parameter]
    else:
        places = {name: found.start() for name in _LEFT_OUT if (found := _pattern(name).search(text))}
        named = sorted(places, key=lambda name: places[name])
    usable = [n for n in named if n in sent and (n != "max_tokens" or "max_completion_tokens" in text)]
    return usable[0] if usable else None


def _pattern(name: str) -> re.Pattern[str]:
    """A parameter's name as a word. `stop` is a word of English, and counts in quotes or behind `parameter` only."""
    border = r"([`'\".]|parameter:? )" if name == "stop" else r"(?<!\w)"
    return re.compile(rf"{border}{name}(?!\w)")
