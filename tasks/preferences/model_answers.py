"""Writes a response that follows given preferences: the gold responses and the demonstrations.

The sentences are short and plain, so that any allowed combination of preferences can be followed: at most seven words,
few long ones, no contraction, no exclamation mark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mipo_bench.tasks.preferences.checks.response_text import ResponseText
from mipo_bench.tasks.preferences.kinds import Preference
from mipo_bench.tasks.preferences.past_requests import CLOSING_QUESTIONS, ENGLISH, PastRequest

FEWEST_WORDS = 10
_EXTRA = {
    "british_spelling": "Add some colour too.",
    "pros_and_cons": "The pros win over the cons.",
    "units=metric": "About 2 kg is right.",
    "units=imperial": "About 2 pounds is right.",
    "dates=iso": "The day is 2024-05-31.",
    "dates=day_first": "The day is 31 May 2024.",
}
_TABLE = "| this | that |\n| --- | --- |\n| old | new |"
_CODE = {
    (False, False): "def total(a, b):\n    return a + b",
    (True, False): "def total(a: int, b: int) -> int:\n    return a + b",
    (False, True): 'def total(a, b):\n    """Add two numbers."""\n    return a + b',
    (True, True): 'def total(a: int, b: int) -> int:\n    """Add two numbers."""\n    return a + b',
}


def write(past: PastRequest, preferences: Sequence[Preference]) -> str:
    """A response to a past request that meets all the preferences; they must be compatible, and all be checkable.

    Raises ValueError if the sentences do not suffice for the length that is wanted.
    """
    wanted = {preference.kind: preference.value for preference in preferences}
    language = wanted.get("language", ENGLISH)
    tips = list(past.tips[language])
    extra = [_EXTRA[p.measured_as] for p in preferences if p.measured_as in _EXTRA]
    for used in range(1, len(tips) + 1):
        body = [*tips[:used], *extra]
        response = _laid_out(past.titles[language], body, wanted, language)
        if all(preference.met_by(ResponseText(response)) for preference in preferences) and _long_enough(response):
            return response
    raise ValueError(f"no response about {past.titles[ENGLISH]!r} meets {preferences}")


def _long_enough(response: str) -> bool:
    return len(ResponseText(response).words) >= FEWEST_WORDS


def _laid_out(title: str, body: Sequence[str], wanted: Mapping[str, str], language: str) -> str:
    first, *others = body
    if "example" in wanted and others:
        others[0] = f"For example, {_lowered(others[0])}"
    if "bold" in wanted:
        words = first.removesuffix(".").split()
        first = " ".join([*words[:-1], f"**{words[-1]}**."])
    if "emoji" in wanted:
        first = f"{first.removesuffix('.')} \N{SLIGHTLY SMILING FACE}."
    lead = f"{_opening(wanted)}{_lowered(first) if _opening(wanted) else first}"
    blocks = [f"# {title}"] if "heading" in wanted else []
    if "bullets" in wanted:
        blocks += [lead, "\n".join(f"- {sentence}" for sentence in others)]
    elif "numbered_steps" in wanted:
        blocks += [lead, "\n".join(f"{n}. {sentence}" for n, sentence in enumerate(others, 1))]
    else:
        blocks += [" ".join([lead, *others])]
    if "table" in wanted:
        blocks.append(_TABLE)
    if {"type_hints", "docstrings"} & set(wanted):
        blocks.append(f"```python\n{_CODE['type_hints' in wanted, 'docstrings' in wanted]}\n```")
    return "\n\n".join([*blocks, *_closing(wanted, language)])


def _opening(wanted: Mapping[str, str]) -> str:
    """The words before the first sentence: greeting or verdict, then the name."""
    parts = ["Hello"] if "greeting" in wanted else ["Yes,"] if "answer_first" in wanted else []
    name = wanted.get("name")
    if parts and not name:
        return f"{parts[0].removesuffix(',')}, "
    return " ".join([*parts, f"{name}, "]) if name else ""


def _closing(wanted: Mapping[str, str], language: str) -> list[str]:
    if "closing_question" in wanted:
        return [CLOSING_QUESTIONS[language]]
    return ["In short, start small."] if "closing_summary" in wanted else []


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
