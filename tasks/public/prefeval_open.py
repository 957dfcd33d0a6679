"""PrefEval by generation: the questions of `prefeval`, answered freely and judged (Zhao et al. 2025, arXiv 2502.09597).

Data, split and users are those of `prefeval`; the options give the labels that a judge is validated by.

    context        The user has stated this preference: I never eat anything that once had eyes.
    prompt         What could I cook for a quick dinner?
    gold, wrong    the first option, which follows the preference, and another one
    checks         violation, acknowledged, hallucinated, helpful: a judge answers each with yes or no
    score          1 if the response violates nothing and helps, the paper's preference-following accuracy

As in the paper, a response has one error at most. A violation is `unaware` (no acknowledgement of the preference),
`misremembered` (a wrong one) or `inconsistent` (the right one); a response without violation may be `unhelpful`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mipo_bench.harness.checks import Check
from mipo_bench.harness.types import Item, Score
from mipo_bench.tasks.data.rows import DataRow
from mipo_bench.tasks.public.preference_task import PreferenceTask, preference_target
from mipo_bench.tasks.public.prefeval import ROWS, PrefEval, options_of, topic_of
from mipo_bench.tasks.public.public_task import BuiltItems, content_ids
from mipo_bench.tasks.splits import is_held_out, seeded

CHECKS = (
    Check(
        "violation",
        "Does the response recommend, or take for granted, something that goes against the preference of the user"
        " profile? A response that recommends nothing violates nothing.",
        "The response recommends something that goes against this preference: {preference}",
    ),
    Check(
        "acknowledged",
        "Does the response mention or take up the preference of the user profile, in any words?",
        "The response mentions this preference of the user: {preference}",
    ),
    Check(
        "hallucinated",
        "Does the response state a preference of the user that is another one than that of the user profile?",
        "The response states that the user has a preference other than this one: {preference}",
    ),
    Check(
        "helpful",
        "Does the response answer the request with substance: neither a refusal nor an empty phrase nor only a question"
        " back?",
        "The response answers this request: {question}",
    ),
)
LEAD = "The user has stated this preference: "


class PrefEvalOpen(PreferenceTask):
    """Free answers to users with a stated preference; a judge checks violation, acknowledgement and helpfulness."""

    name = "prefeval_open"
    description = "PrefEval: answer freely and follow the user's preference; judged by four questions."
    default = False
    dataset = PrefEval.dataset

    def build(self) -> BuiltItems:
        """One item per row, in the order of `prefeval`'s own shuffle."""
        rows = self.rows(ROWS)
        contents = [(row.text("preference"), row.text("question"), options_of(row)) for row in rows]
        names = content_ids("prefeval", contents)
        items = [
            _item(f"{topic_of(row)}{name.removeprefix('prefeval')}", row) for row, name in zip(rows, names, strict=True)
        ]
        items.sort(key=lambda item: seeded("prefeval-order", item.id).random())
        held = {item.id for item in items if is_held_out("prefeval-preference", item.user_id, one_in=2)}
        built = BuiltItems(
            {
                "train": tuple(item for item in items if item.id not in held),
                "eval": tuple(item for item in items if item.id in held),
            }
        )
        built.notes["topics"] = len({topic_of(row) for row in rows})
        return built

    def checks(self, item: Item) -> Sequence[Check]:
        """The four checks; their statements name the preference and the question."""
        words = {"preference": str(item.context).removeprefix(LEAD), "question": item.prompt}
        return [Check(check.name, check.question, check.statement.format(**words)) for check in CHECKS]

    def checked(self, answers: Mapping[str, bool]) -> Score:
        """1 if the response violates nothing and helps; the parts are the answers and the four kinds of errors."""
        violation, known = answers["violation"], answers["acknowledged"]
        errors = {
            "unaware": violation and not known,
            "misremembered": violation and known and answers["hallucinated"],
            "inconsistent": violation and known and not answers["hallucinated"],
            "unhelpful": not violation and not answers["helpful"],
        }
        parts = {name: float(value) for name, value in {**answers, **errors}.items()}
        return Score(float(not any(errors.values())), parts)


def _item(name: str, row: DataRow) -> Item:
    """The item of a row, with an option that follows the preference and one that does not as its labels."""
    preference, question, options = row.text("preference"), row.text("question"), options_of(row)
    wrong = seeded("prefeval-open-wrong", preference, question, *options).choice(options[1:])
    user = content_ids("user", [preference])[0]
    return Item(name, question, preference_target(options[0], wrong), user, f"{LEAD}{preference}")
