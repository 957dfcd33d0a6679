"""LaMP-1 to LaMP-3: the reference that an author cites, the tag that a user gives a movie, the score of a review.

Labels are read with numpy, which is imported where something is scored, and not where tasks are listed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mipo_bench.harness.types import Item, Response, Score
from mipo_bench.tasks.public.lamp.files import LampQuestion
from mipo_bench.tasks.public.lamp.lamp_task import LampTask, Wording

_REFERENCES = re.compile(r"\[1\]:(.*)\[2\]:(.*)", re.DOTALL)
_TAGS = re.compile(r"\btags: ?\[([^\]]+)\]")
LARGEST_ERROR = 4
UNREADABLE = "no label"


class _OneOfLabels(LampTask):
    """Accuracy, and macro F1 over the labels."""

    binary = True

    def score(self, item: Item, response: Response) -> Score:
        """1 if the only label that the response names is the target. `strict` is the authors' equality of texts."""
        from mipo_bench.tasks.public.lamp.labels import read_label

        reading = read_label(response.text, item.options)
        strict = {"strict": float(response.text.strip() == item.target)}
        return Score(float(reading.value == item.target), strict, reading.value is not None, reading)

    def corpus_parts(self, items: Sequence[Item], scores: Sequence[Score]) -> Mapping[str, Sequence[float]]:
        """Macro F1 over the labels of all items, as values whose mean it is."""
        from mipo_bench.tasks.public.lamp.labels import linear_macro_f1

        given = [score.reading.value if score.reading else None for score in scores]
        labels = sorted({label for item in items for label in item.options})
        return {"f1": linear_macro_f1([item.target for item in items], given, labels)}

    def gold(self, item: Item) -> str:
        """The target."""
        return item.target

    def wrong(self, item: Item) -> str:
        """Another label."""
        return next(label for label in item.options if label != item.target)


class Lamp1(_OneOfLabels):
    """Which of two references an author cites in a paper, from the titles of the author's papers."""

    name = "lamp_1"
    description = "LaMP-1: which of two papers an author cites, from the author's papers; accuracy, F1."
    number = 1
    choices = ("[1]", "[2]")
    max_new_tokens = 32
    wording = Wording(
        "This author has written papers with these titles:", '"{title}"', ("title",), ("title", "abstract"), ""
    )

    def query(self, question: LampQuestion) -> str:
        """The titles of both references, as in the authors' code; the whole input in another wording."""
        found = _REFERENCES.search(question.text)
        return " ".join(found.groups()) if found else question.text


class Lamp2(_OneOfLabels):
    """The tag that a user would give a movie, from the tags that the user gave others."""

    name = "lamp_2"
    description = "LaMP-2: the tag that a user gives a movie, from the user's tags of others; accuracy, F1."
    number = 2
    max_new_tokens = 32
    wording = Wording(
        "This user has given movies these tags:",
        'the tag for the movie: "{description}" is "{tag}"',
        ("description", "tag"),
        ("description",),
        "description:",
        "description",
        "tag",
    )

    def answers(self, question: LampQuestion) -> tuple[str, ...]:
        """The tags that the input lists. Raises DataError if it lists none."""
        found = _TAGS.search(question.text)
        tags = tuple(dict.fromkeys(tag.strip() for tag in found[1].split(",") if tag.strip())) if found else ()
        if len(tags) < 2:
            raise question.row.wrong("input", "has no list of answers such as 'tags: [comedy, action]'")
        return tags


class Lamp3(LampTask):
    """The score that a user gives a product, from the user's review and the scores of earlier ones."""

    name = "lamp_3"
    description = "LaMP-3: the score of a product, from a review and the user's earlier ones; 1 - error/4, MAE, RMSE."
    binary = False
    number = 3
    choices = ("1", "2", "3", "4", "5")
    max_new_tokens = 32
    wording = Wording(
        "This user has given products these scores:",
        '{score} is the score for "{text}"',
        ("score", "text"),
        ("text",),
        "review:",
        "text",
        "score",
    )

    def score(self, item: Item, response: Response) -> Score:
        """1 - |score - target| / 4, where 4 is the largest error; 0 without a readable score."""
        from mipo_bench.tasks.public.lamp.labels import read_stars

        reading = read_stars(response.text)
        if reading.value is None:
            return Score(0.0, {"accuracy": 0.0}, parsed=False, reading=reading)
        value = 1 - abs(int(reading.value) - int(item.target)) / LARGEST_ERROR
        return Score(value, {"accuracy": float(value == 1)}, reading=reading)

    def corpus_parts(self, items: Sequence[Item], scores: Sequence[Score]) -> Mapping[str, Sequence[float]]:
        """MAE and RMSE in points. An unreadable score counts as the farthest from the target, as the authors do."""
        from mipo_bench.tasks.public.lamp.labels import linear_rmse

        errors = [_error(int(item.target), score) for item, score in zip(items, scores, strict=True)]
        return {"mae": errors, "rmse": linear_rmse(errors)}

    def gold(self, item: Item) -> str:
        """The target."""
        return item.target

    def wrong(self, item: Item) -> str:  # noqa: ARG002 - the protocol's signature
        """A response without a score: the farthest score is at most two points away from 3."""
        return UNREADABLE


def _error(target: int, score: Score) -> float:
    given = score.reading.value if score.reading else None
    return float(max(target - 1, 5 - target) if given is None else abs(int(given) - target))
