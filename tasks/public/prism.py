"""PRISM: rated conversations of 1,396 people (Kirk et al. 2024, arXiv 2404.16019; HannahRoseKirk/prism-alignment).

    survey         user_id, self_description, system_string, stated_prefs (0-100 each), age, gender, ...
    conversations  conversation_id, user_id, conversation_history: turns {turn, role, content, score, if_chosen},
                   the role `user` or `model`
    context        In their own words: I run a small bakery. What they want from an AI model: ...
    prompt         the opening prompt of a conversation
    gold, wrong    the opening response that the user chose, and the one that they scored lowest
    score          a judge's verdict; also reported: `word_f1`, the overlap with the chosen response

One user in five belongs to the evaluation split. A user's first two conversations are the user's past: the earlier
turns of all items of this user. They are not items themselves. Later turns of a conversation are not used, because
their prompts make no sense without the turns before them. The data set writes blank fields as "EMPTY STRING". Of 1,500
users in the survey 104 have no conversations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mipo_bench.harness.types import Split
from mipo_bench.tasks.data.layout import DataSet, Part
from mipo_bench.tasks.data.rows import DataRow, unique
from mipo_bench.tasks.public.preference_task import Exchange, PreferenceTask, build_preferences
from mipo_bench.tasks.public.public_task import BuiltItems
from mipo_bench.tasks.splits import is_held_out

BLANKS = {"EMPTY STRING", "Prefer not to say", "Unknown"}
FACTS: Mapping[str, str] = {
    "age": "Age",
    "gender": "Gender",
    "employment_status": "Employment",
    "education": "Education",
    "marital_status": "Marital status",
    "english_proficiency": "English",
}
GROUPS: Mapping[str, tuple[str, str]] = {
    "religion": ("simplified", "Religion"),
    "ethnicity": ("simplified", "Ethnicity"),
    "location": ("reside_country", "Country"),
}
"""Field of the survey that is an object -> (its inner field, the label in the context)."""
NO_CONVERSATIONS = "users without conversations"
SURVEY = Part(
    "survey",
    "train",
    ("survey",),
    ("user_id", "self_description", "system_string", "stated_prefs", *FACTS, *GROUPS),
)
CONVERSATIONS = Part(
    "conversations", "train", ("conversations",), ("conversation_id", "user_id", "conversation_history")
)


class Prism(PreferenceTask):
    """Answer as this survey participant would rate highest."""

    name = "prism"
    description = "PRISM: answer a survey participant's opening prompt as they would rate highest; judged."
    dataset = DataSet(
        "HannahRoseKirk/prism-alignment",
        "18ab5cfb37456f4ec8cbc00212ce54cf7b1239f6",
        "CC-BY-4.0 (human text), CC-BY-NC-4.0 (model responses)",
        several_configs=True,
    )

    def build(self) -> BuiltItems:
        """One item for each conversation after a user's past."""
        survey = unique(self.rows(SURVEY), "user_id")
        rows = unique(self.rows(CONVERSATIONS), "conversation_id")
        contexts = {user: profile(row) for user, row in survey.items()}
        exchanges = [opening(row, survey) for row in rows.values()]
        built = build_preferences(exchanges, split_of, lambda user, _: contexts[user])
        if silent := len(survey) - len({exchange.user for exchange in exchanges}):
            built.left_out[NO_CONVERSATIONS] = silent
        return built


def split_of(exchange: Exchange) -> Split:
    """The split of the exchange's user. One user in five belongs to evaluation."""
    return "eval" if is_held_out("prism-user", exchange.user, one_in=5) else "train"


def profile(row: DataRow) -> str | None:
    """The user's survey answers as text; None if all are blank."""
    own, wish = known(row, "self_description"), known(row, "system_string")
    lines = [f"In their own words: {own}"] if own else []
    lines += [f"What they want from an AI model: {wish}"] if wish else []
    lines += _preferences(row) + _facts(row)
    return "\n".join(["About the user:", *lines]) if lines else None


def known(row: DataRow, field: str) -> str | None:
    """A text field of the survey; None if it is blank."""
    value = row.optional(field)
    return None if value in BLANKS else value


def _preferences(row: DataRow) -> list[str]:
    """The user's preference scores (0 to 100) in one line, highest first; empty if there are none."""
    if not row.given("stated_prefs"):
        return []
    prefs = row.mapping("stated_prefs")
    scores = {name: prefs.score(name) for name in prefs.values if name not in ("other", "other_text")}
    given = sorted(((score, name) for name, score in scores.items() if score is not None), key=lambda p: (-p[0], p[1]))
    shown = ", ".join(f"{name} {score:g}" for score, name in given)
    return [f"How much they care about, from 0 to 100: {shown}"] if shown else []


def _facts(row: DataRow) -> list[str]:
    """The demographic fields that are not blank, one line each."""
    found = {label: known(row, field) for field, label in FACTS.items()}
    for field, (inner, label) in GROUPS.items():
        found[label] = known(row.mapping(field), inner) if row.given(field) else None
    return [f"{label}: {value}" for label, value in found.items() if value]


def opening(row: DataRow, survey: Mapping[str, DataRow]) -> Exchange:
    """The opening turn of a conversation. Raises DataError if its user is not in the survey."""
    user = row.key("user_id")
    if user not in survey:
        raise row.wrong("user_id", f"is {user!r}, which is not in the survey: is one of the two files incomplete?")
    turns = row.mappings("conversation_history")
    first = min((int(turn.score("turn") or 0) for turn in turns), default=0)
    turns = [turn for turn in turns if int(turn.score("turn") or 0) == first]
    prompts = [text for turn in turns if _role(turn) == "user" and (text := known(turn, "content"))]
    answers = [turn for turn in turns if _role(turn) == "model" and known(turn, "content")]
    chosen = next((turn.text("content") for turn in answers if turn.flag("if_chosen")), None)
    rejected = _lowest([turn for turn in answers if turn.text("content") != chosen]) if chosen else None
    prompt = prompts[0] if prompts else ""
    flaw = "blank prompts" if not prompt else "conversations without a chosen response" if not chosen else ""
    flaw = flaw or "conversations without another response"
    return Exchange(row.key("conversation_id"), user, prompt, chosen if prompt else None, rejected, flaw)


def _role(turn: DataRow) -> str:
    """The role of a turn. Raises DataError for a role other than `user` and `model`."""
    role = turn.text("role")
    if role not in ("user", "model"):
        raise turn.wrong("role", f"is {role!r}; it must be 'user' or 'model'")
    return role


def _lowest(answers: Sequence[DataRow]) -> str | None:
    """The response with the lowest score. A response without a score is used only if no other exists."""
    scored = [(turn.score("score"), turn.text("content")) for turn in answers]
    return min(scored, key=lambda pair: (pair[0] is None, pair[0] or 0), default=(None, None))[1]
