"""Rewards of responses to training items: the task's score, or ratings by the base model.

Training uses them for objectives that learn from rewards, such as RLVR.
"""

from __future__ import annotations

from collections.abc import Sequence

from mipo_bench.harness.config.judge_spec import JudgeConfig
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.evaluation.scoring import scorer_hash
from mipo_bench.harness.judging.judges import generator_judge
from mipo_bench.harness.plugins.optional import is_judged, reward_kind
from mipo_bench.harness.protocols import Generator, Judge, Question
from mipo_bench.harness.training.pairs import Ratings, Reward
from mipo_bench.harness.types import Decoding, Item, Recipe, Response, Task
from mipo_bench.tasks.reading.thoughts import THOUGHT_TAGS, ThoughtTag

RUBRIC = "The response answers the request, and answers it in the way that this very user likes."
"""The rubric for tasks that have none."""


def reward_of(recipe: Recipe, task: Task, base: Generator, settings: JudgeConfig, tags: Sequence[ThoughtTag]) -> Reward:
    """The reward that the recipe asks for: the task's score, or ratings by the frozen base model.

    The rater is the base model and not the run's judge: a gain of a model that was trained on its evaluator's verdicts
    would show nothing.
    """
    if reward_kind(recipe) == "score":
        return score_reward(task, tags)
    decoding = Decoding(settings.max_new_tokens, settings.temperature, settings.top_p)
    return judge_reward(task, generator_judge("base model", base, decoding, tags), tags)


def score_reward(task: Task, tags: Sequence[ThoughtTag] = THOUGHT_TAGS) -> Reward:
    """The reward that is the task's own score, in [0, 1]."""

    def rate(items: Sequence[Item], texts: Sequence[str]) -> Ratings:
        responses = (Response(text, 0, len(text.split()), "stop") for text in texts)
        scores = (task.score(item, response).value for item, response in zip(items, responses, strict=True))
        return Ratings(tuple(map(float, scores)))

    return Reward("score", digest(["score", task.name, task.version, scorer_hash(task, tags)]), rate, tags)


def judge_reward(task: Task, judge: Judge, tags: Sequence[ThoughtTag] = THOUGHT_TAGS) -> Reward:
    """The reward (rating - 1) / 4 from ratings of 1 to 5. An unreadable rating has reward 0 and is counted."""

    def rate(items: Sequence[Item], texts: Sequence[str]) -> Ratings:
        questions = [Question(item, _rubric(task, item), text) for item, text in zip(items, texts, strict=True)]
        found = {position: verdict.value for position, verdict in judge.decide(questions)}
        values = [found.get(n) for n in range(len(questions))]
        counts = {"ratings": len(values), "unread": values.count(None)}
        return Ratings(tuple(value or 0.0 for value in values), counts)

    return Reward(f"judge: {judge.name}", digest(["judge", task.name, task.version, judge.digest, tags]), rate, tags)


def _rubric(task: Task, item: Item) -> str:
    return task.rubric(item) if is_judged(task) else RUBRIC
