"""Community Alignment: responses that annotators in five countries preferred.

Data: facebook/community-alignment-dataset, CC-BY-4.0.

Paper: Zhang et al. 2025, "Cultivating Pluralism In Algorithmic Monoculture", arXiv 2507.09650.

    row          conversation_id, assigned_lang, annotator_id, annotator_age, ..., first_turn_prompt,
                 first_turn_response_a to _d, first_turn_preferred_response (`response_b`), first_turn_feedback
    context      Age: 35-45. Country: india. Asked "...", this user preferred this answer: ... Because: ...
    prompt       the first prompt of a conversation
    gold, wrong  the response that the annotator preferred, and another one
    score        a judge's verdict; also reported: `word_f1`, the overlap with the preferred response

Many annotators answered the same prompts, so both users and prompts are split. The evaluation split has the held-out
fifth of the users with the held-out third of the prompts. The training split has the other users with the other
prompts. Conversations in neither split are left out and counted. A user's first two conversations with prompts that are
not held out are the user's past: the earlier turns and the context of all items of this user. They are not items
themselves. The task uses English conversations; a subclass with another `language` uses that one. An
`<|end_of_text|>` at the end of a response is removed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from mipo_bench.harness.types import Split
from mipo_bench.tasks.data.layout import DataSet, Part
from mipo_bench.tasks.data.rows import DataRow, unique
from mipo_bench.tasks.public.preference_task import Exchange, PreferenceTask, build_preferences
from mipo_bench.tasks.public.public_task import BuiltItems
from mipo_bench.tasks.splits import is_held_out, seeded

FACTS: Mapping[str, str] = {
    "annotator_age": "Age",
    "annotator_gender": "Gender",
    "annotator_education_level": "Education",
    "annotator_political": "Politics",
    "annotator_ethnicity": "Ethnicity",
    "annotator_country": "Country",
}
CANDIDATES = ("response_a", "response_b", "response_c", "response_d")
OTHER_LANGUAGE = "conversations in other languages"
HELD_PROMPT = "conversations of training users with evaluation prompts"
HELD_USER = "conversations of evaluation users with training prompts"
_END = re.compile(r"(?:\s*<\|end_of_text\|>)+\s*$")
_FIRST = ("prompt", *CANDIDATES, "preferred_response", "feedback")
ROWS = Part(
    "default",
    "train",
    ("community_alignment",),
    ("conversation_id", "assigned_lang", "annotator_id", *FACTS, *(f"first_turn_{name}" for name in _FIRST)),
)


class CommunityAlignment(PreferenceTask):
    """Prompts of annotators; a judge decides which response the annotator would prefer."""

    name = "community_alignment"
    description = "Community Alignment: answer a prompt as an annotator would prefer; English; judged."
    language: ClassVar[str] = "en"
    dataset = DataSet("facebook/community-alignment-dataset", "97343c7f6399fcbea430ed0f37c1768281a78d56", "CC-BY-4.0")

    def build(self) -> BuiltItems:
        """One item per conversation that is not part of a user's past."""
        every = unique(self.rows(ROWS), "conversation_id")
        rows = {name: row for name, row in every.items() if row.text("assigned_lang") == self.language}
        facts = {row.key("annotator_id"): attributes(row) for row in rows.values()}
        exchanges = [opening(row) for row in rows.values()]
        built = build_preferences(
            exchanges,
            split_of,
            context_of=lambda user, past: context(facts[user], past),
            usable_as_past=lambda exchange: not prompt_held_out(exchange.prompt),
        )
        if others := len(every) - len(rows):
            built.left_out[OTHER_LANGUAGE] = others
        return built


def split_of(exchange: Exchange) -> Split | str:
    """The split of an exchange, or the reason why it is in neither."""
    user = is_held_out("community-alignment-user", exchange.user, one_in=5)
    prompt = prompt_held_out(exchange.prompt)
    if user != prompt:
        return HELD_USER if user else HELD_PROMPT
    return "eval" if user else "train"


def prompt_held_out(prompt: str) -> bool:
    """Whether a prompt belongs to the evaluation split. One in three does."""
    return is_held_out("community-alignment-prompt", prompt, one_in=3)


def attributes(row: DataRow) -> list[str]:
    """The attributes that the annotator gave, one line each."""
    found = {label: row.optional(field) for field, label in FACTS.items()}
    return [f"{label}: {value}" for label, value in found.items() if value]


def context(facts: Sequence[str], earlier: Sequence[Exchange]) -> str | None:
    """The user's attributes and earlier preferences as text; None if nothing is known."""
    lines = list(facts)
    for past in earlier:
        lines.append(f'Asked "{past.prompt}", this user preferred this answer: {past.chosen}')
        lines += [f"Because: {past.comment}"] if past.comment else []
    return "\n".join(["About the user:", *lines]) if lines else None


def opening(row: DataRow) -> Exchange:
    """The first turn of a conversation. Raises DataError if the preferred response is not one of the four."""
    prompt, preferred = row.optional("first_turn_prompt"), row.optional("first_turn_preferred_response")
    if preferred is not None and preferred not in CANDIDATES:
        raise row.wrong("first_turn_preferred_response", f"is {preferred!r}, not one of {', '.join(CANDIDATES)}")
    texts = {name: _END.sub("", row.optional(f"first_turn_{name}") or "").strip() for name in CANDIDATES}
    chosen = texts[preferred] if preferred else ""
    others = sorted({text for text in texts.values() if text and text != chosen})
    name = row.key("conversation_id")
    return Exchange(
        name,
        row.key("annotator_id"),
        prompt or "",
        chosen if prompt and chosen else None,
        seeded("community-alignment-rejected", name).choice(others) if others else None,
        flaw=_flaw(prompt, chosen),
        comment=row.optional("first_turn_feedback"),
    )


def _flaw(prompt: str | None, chosen: str) -> str:
    """The reason why a conversation has no chosen or no rejected response, if it has none."""
    if not prompt:
        return "conversations without a first prompt"
    return "conversations whose candidates are alike" if chosen else "conversations without a preferred response"
