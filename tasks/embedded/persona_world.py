"""The invented world of the `persona` task: profiles, requests, ideal responses, and rules that read a response.

A profile has six attributes. Each leaves a mark in a response that a rule can check:

    tone       formal, cheerful, blunt or gentle       an opening phrase
    format     bullets, numbers or prose               list marks at the start of lines
    length     short, medium or long                   number of words
    interest   chess, sailing ...                      the response draws a comparison with it
    expertise  beginner, practitioner or expert        a phrase that sets the level
    address    Captain, friend ...                     the response calls the user that
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from mipo_bench.tasks.embedded.persona_texts import KINDS, TOPICS, WORDINGS
from mipo_bench.tasks.splits import is_held_out


@dataclass(frozen=True, slots=True)
class Profile:
    """The wishes of one user. None for an attribute means the generic default."""

    tone: str | None = None
    format: str | None = None
    length: str | None = None
    interest: str | None = None
    expertise: str | None = None
    address: str | None = None


ATTRIBUTES: tuple[str, ...] = tuple(f.name for f in fields(Profile))

OPENINGS: Mapping[str | None, tuple[str, ...]] = {
    None: ("here is a suggestion.", "here is an idea."),
    "formal": ("I would advise the following.", "please consider the following."),
    "cheerful": ("what a lovely question!", "oh, this will be fun!"),
    "blunt": ("straight to the point.", "no fuss."),
    "gentle": ("there is no hurry.", "take your time with this."),
}
LEVELS: Mapping[str | None, tuple[str, ...]] = {
    None: (),
    "beginner": ("In simple words:", "Put simply:"),
    "practitioner": ("In daily practice:", "From experience:"),
    "expert": ("In technical terms:", "For a specialist:"),
}
INTERESTS = ("chess", "gardening", "sailing", "football", "music", "baking", "astronomy", "hiking")
COMPARISONS = ("Think of it like {}.", "It is a bit like {}.")
ADDRESSES = (
    "Captain", "Doctor", "Professor", "friend", "neighbor",
    "boss", "champion", "traveler", "partner", "colleague",
)  # fmt: skip
FORMATS = ("bullets", "numbers", "prose")
TIPS = {"short": 1, "medium": 3, "long": 5}
SHORT_WORDS, LONG_WORDS = 25, 44
"""A response of at most SHORT_WORDS words is short, one of at least LONG_WORDS words is long."""

VALUES: Mapping[str, tuple[str, ...]] = {
    "tone": tuple(t for t in OPENINGS if t),
    "format": FORMATS,
    "length": tuple(TIPS),
    "interest": INTERESTS,
    "expertise": tuple(e for e in LEVELS if e),
    "address": ADDRESSES,
}
PHRASES: Mapping[str, tuple[str, ...]] = {
    "tone": ("needs a {} tone", "likes a {} tone", "does not mind a {} tone"),
    "format": ("needs {}", "prefers {}", "does not mind {}"),
    "length": ("needs {} answers", "likes {} answers", "does not mind {} answers"),
    "interest": ("lives for {}", "is interested in {}", "has heard of {}"),
    "expertise": ("is clearly a {}", "is a {}", "may be a {}"),
    "address": ("must be called {}", "is called {}", "may be called {}"),
}
"""Attribute -> the phrases that state a wish, from the firmest to the mildest."""


@dataclass(frozen=True, slots=True)
class RequestText:
    """A request text and its kind, which decides which tips answer it."""

    kind: str
    text: str

    @property
    def held_out(self) -> bool:
        """Whether the text belongs to the evaluation split. One in four does."""
        return is_held_out("persona-request", self.text, one_in=4)


REQUESTS = tuple(RequestText(k, w.format(t)) for k in KINDS for t in TOPICS[k] for w in WORDINGS)


def profile_held_out(profile: Profile) -> bool:
    """Whether a user with this profile belongs to the evaluation split. One in five does."""
    return is_held_out("persona-profile", *(getattr(profile, a) for a in ATTRIBUTES), one_in=5)


def random_profile(rng: random.Random) -> Profile:
    """A profile whose attributes are drawn uniformly and independently."""
    return Profile(*(rng.choice(VALUES[a]) for a in ATTRIBUTES))


def random_firmness(rng: random.Random) -> dict[str, int]:
    """Attribute -> index of the phrase in `PHRASES` that states it; 0 is the firmest."""
    return {a: rng.randrange(len(PHRASES[a])) for a in ATTRIBUTES}


def describe(profile: Profile, firmness: Mapping[str, int], rng: random.Random) -> str:
    """The profile in words, as prompts show it, with the attributes in random order."""
    parts = [PHRASES[a][firmness[a]].format(getattr(profile, a)) for a in ATTRIBUTES]
    rng.shuffle(parts)
    return "About the user: " + "; ".join(parts) + "."


def write(kind: str, style: Profile, rng: random.Random) -> str:
    """A response to a request of this kind that has exactly the attributes of `style`."""
    opening = rng.choice(OPENINGS[style.tone])
    opening = f"{style.address}, {opening}" if style.address else opening
    lead = [opening[0].upper() + opening[1:]]
    lead += [rng.choice(LEVELS[style.expertise])] if style.expertise else []
    tips = KINDS[kind][: TIPS[style.length or "medium"]]
    end = [rng.choice(COMPARISONS).format(style.interest)] if style.interest else []
    if style.format in (None, "prose"):
        return " ".join([*lead, *(t[0].upper() + t[1:] + "." for t in tips), *end])
    marks = ["-"] * len(tips) if style.format == "bullets" else [f"{n}." for n in range(1, len(tips) + 1)]
    return "\n".join([" ".join(lead), *(f"{m} {t}" for m, t in zip(marks, tips, strict=True)), *end])


def read_profile(response: str) -> Profile:
    """The attributes that rules find in a response. An attribute is None if no value or several values are found."""
    low = response.lower()
    tones = {t for t, marks in OPENINGS.items() if t and any(m.lower() in low for m in marks)}
    levels = {e for e, marks in LEVELS.items() if e and any(m.lower() in low for m in marks)}
    words = set(re.findall(r"[a-z]+", low))
    return Profile(
        tone=_only(tones),
        format=read_format(response),
        length=read_length(response),
        interest=_only(words & set(INTERESTS)),
        expertise=_only(levels),
        address=_only({a for a in ADDRESSES if a.lower() in words}),
    )


def read_format(response: str) -> str | None:
    """`bullets`, `numbers` or `prose`; None for an empty response or a mixture of list marks."""
    if not response.strip():
        return None
    formats = set()
    if re.search(r"^\s*[-*•] ", response, re.MULTILINE):
        formats.add("bullets")
    if re.search(r"^\s*\d+[.)] ", response, re.MULTILINE):
        formats.add("numbers")
    return _only(formats) if formats else "prose"


def read_length(response: str) -> str | None:
    """`short`, `medium` or `long` by the number of words, without list marks; None for an empty response."""
    n = len(re.findall(r"[A-Za-z][\w'-]*", response))
    if n == 0:
        return None
    return "short" if n <= SHORT_WORDS else "long" if n >= LONG_WORDS else "medium"


def on_topic(kind: str, response: str) -> float:
    """1 if the response shares three consecutive words with a tip for this kind of request, else 0."""
    words = re.findall(r"[a-z]+", response.lower())
    seen = {tuple(words[i : i + 3]) for i in range(len(words) - 2)}
    tips = (t.split() for t in KINDS[kind])
    return float(any(tuple(t[i : i + 3]) in seen for t in tips for i in range(len(t) - 2)))


def _only(values: set[str]) -> str | None:
    """The value of a set with one element; None for other sets."""
    return next(iter(values)) if len(values) == 1 else None
