"""The embedded tasks: scorers rate gold and wrong responses correctly, and splits are disjoint."""

from __future__ import annotations

import re
from itertools import islice, product

import pytest

from mipo_bench.harness.embedded.corpus import chats
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.types import Message, Response, Task
from mipo_bench.tasks import answers
from mipo_bench.tasks.embedded import facts, persona_texts, persona_world
from mipo_bench.tasks.embedded.facts_table import FACTS

PLUGINS = load_plugins()
TASKS = [task for task in PLUGINS.tasks.values() if not getattr(task, "uses_data", False)]
CORPUS = list(islice(chats(1), 20_000))
"""The first chats of the embedded model's training corpus (seed 1 + 0)."""


def answered(text: str, logprobs: tuple[float, ...] | None = None) -> Response:
    return Response(text, 1, 1, "stop", logprobs)


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_gold_scores_one_and_wrong_scores_zero(task: Task) -> None:
    for split in ("train", "eval"):
        for item in task.items(split):
            gold, wrong = (task.score(item, answered(f(item))) for f in (task.gold, task.wrong))
            assert (gold.value, wrong.value) == (1.0, 0.0), item
            assert gold.parsed


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_garbage_scores_within_range_and_never_raises(task: Task) -> None:
    for text in ("", " ", "\x00\x1b[31m", "9" * 5000, "Answer: ", "-" * 50, "A B C D", "답 42", "1e999", "\ud7ff"):
        for item in task.items("eval")[:20]:
            assert 0 <= task.score(item, answered(text)).value <= 1


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_an_empty_response_counts_as_unparsed(task: Task) -> None:
    score = task.score(task.items("eval")[0], answered(""))
    assert not score.parsed
    assert score.value == 0


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_ids_are_unique_and_splits_disjoint(task: Task) -> None:
    train, held = task.items("train"), task.items("eval")
    ids = [i.id for i in (*train, *held)]
    assert len(set(ids)) == len(ids)
    assert not {i.prompt for i in train} & {i.prompt for i in held}
    assert not {i.user_id for i in train if i.user_id} & {i.user_id for i in held}
    assert not {i.context for i in train if i.context} & {i.context for i in held}


def test_persona_has_enough_users_and_requests() -> None:
    held = PLUGINS.tasks["persona"].items("eval")
    assert len({i.user_id for i in held}) >= 100
    assert len(held) >= 3 * len({i.user_id for i in held})
    assert len(persona_texts.KINDS) >= 12


def test_answer_positions_are_balanced() -> None:
    targets = [i.target for i in PLUGINS.tasks["facts"].items("eval")]
    counts = [targets.count(letter) for letter in facts.LETTERS]
    assert max(counts) - min(counts) <= 1


def _texts(role: str) -> set[str]:
    return {m.content for chat in CORPUS for m in chat if m.role == role}


def test_no_evaluation_user_or_request_is_in_the_corpus() -> None:
    told = "\n".join(_texts("system"))
    every = (persona_world.Profile(*v) for v in product(*(persona_world.VALUES[a] for a in persona_world.ATTRIBUTES)))
    wanted = {profile: persona_world.profile_held_out(profile) for profile in every}
    profiles = [_profile_in(line) for line in told.splitlines()]
    assert len(profiles) > 5000
    assert not any(wanted[p] for p in profiles)
    held = {i.prompt for i in PLUGINS.tasks["persona"].items("eval")}
    assert not held & _texts("user")


def _profile_in(text: str) -> persona_world.Profile:
    """The profile that a context describes, read back from its words."""
    found = {}
    for attribute, phrases in persona_world.PHRASES.items():
        for value in persona_world.VALUES[attribute]:
            if any(p.format(value) in text for p in phrases):
                found[attribute] = value
    return persona_world.Profile(**found)


def test_no_evaluation_numbers_are_in_the_corpus() -> None:
    held = {_numbers(i.prompt) for i in PLUGINS.tasks["arithmetic"].items("eval")}
    prompts = [p for p in _texts("user") if "How many" in p]
    assert len(prompts) > 3000
    assert not held & {tuple(map(int, re.findall(r"\d+", p))) for p in prompts}
    equations = {tuple(map(int, e)) for m in _texts("assistant") for e in re.findall(r"(\d+) [+-] (\d+) = -?\d+", m)}
    assert not {n for n in held if len(n) == 2} & equations


def _numbers(text: str) -> tuple[int, ...]:
    """The sorted numbers in a text."""
    return tuple(sorted(map(int, re.findall(r"\d+", text))))


def test_no_evaluation_question_is_in_the_corpus_but_every_fact_is() -> None:
    held = {i.prompt.split("\n")[0] for i in PLUGINS.tasks["facts"].items("eval")}
    asked = {p.split("\n")[0] for p in _texts("user") if " (A)\n" in p}
    assert len(asked) > 150
    assert not held & asked
    waiting = {(f.question, f"{f.object}.") for f in FACTS}
    for chat in islice(chats(1), 200_000):
        waiting.discard((chat[0].content, chat[-1].content))
        if not waiting:
            break
    assert not waiting


def test_the_corpus_depends_on_its_seed_alone() -> None:
    assert list(islice(chats(7), 50)) == list(islice(chats(7), 50))
    assert list(islice(chats(7), 50)) != list(islice(chats(8), 50))


def test_the_corpus_has_every_prompt_form() -> None:
    baselines = PLUGINS.baselines
    for task in TASKS:
        item = task.items("train")[0]
        usual = (b for b in baselines.values() if getattr(b, "default", True))
        for baseline in (b for b in usual if b.applies(task, item)):
            form = _form(baseline.messages(item))
            assert any(_form(chat[:-1]) == form for chat in CORPUS), (task.name, baseline.name)


def _form(messages: tuple[Message, ...]) -> tuple[object, ...]:
    last = messages[-1].content
    return (
        tuple(dict.fromkeys(m.role for m in messages)),
        "Think step by step" in last,
        "Follow every wish" in messages[0].content,
        len(messages) > 2,
        " (A)\n" in last,
        "How many" in last,
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Answer: 12", 12),
        ("12 + 7 = 19. Answer: 19", 19),
        ("The answer is 1,234.", 1234),
        ("#### -5", -5),
        ("answer = \u22123", -3),
        ("It costs $1,234.50 in all", 1234.5),
        ("9-4", 4),
        ("9 - 4 = 5", 5),
        ("so +7 it is", 7),
        ("Answer: 5 coins. Well done, 3 cheers!", 5),
        ("Answer: 4. No, Answer: 6", 6),
        ("Answer: none, but 8", 8),
        ("no number", None),
        ("", None),
        ("Answer: 14 + 9 = 23", 23),
        ("Answer:\n42 coins", 42),
    ],
)
def test_final_number(text: str, number: float | None) -> None:
    assert answers.final_number(text) == number


@pytest.mark.parametrize(
    ("value", "digits"), [(0.00001, "0.00001"), (2.50, "2.5"), (1e15, "1000000000000000"), (-3.0, "-3")]
)
def test_a_target_in_plain_digits_has_no_exponent(value: float, digits: str) -> None:
    """A target like 1e-05 would be read as 1 from every right answer."""
    assert answers.number_text(value) == digits


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("Answer: B", "B"),
        ("Paris. Answer: B", "B"),
        ("the answer is (c)", "C"),
        ("B", "B"),
        ("B) Paris", "B"),
        ("Paris (B)", "B"),
        ("The capital of France is Paris.\nParis (B)", "B"),
        ("Rome (A) or Paris (B)", None),
        ("(D)", "D"),
        ("I think Paris", "B"),
        ("A) Rome or B) Paris", None),
        ("Rome or Paris", None),
        ("A good question", None),
        ("no idea", None),
        ("Paris.", "B"),
        ("The answer is a city in France: Paris", "B"),
        ("**B**", "B"),
        ("Answer: **B**", "B"),
        ("so \\boxed{D}", "D"),
        ("answer: c.", "C"),
        ("Paris is the capital of France.", "B"),
    ],
)
def test_chosen_letter(text: str, letter: str | None) -> None:
    assert answers.chosen_letter(text, ("Rome", "Paris", "Oslo", "Bern")) == letter


def test_facts_score_the_options_by_log_likelihood() -> None:
    task = PLUGINS.tasks["facts"]
    item = next(i for i in task.items("eval") if i.target == "B")
    right = task.score(item, answered("Answer: B", (-5.0, -1.0, -6.0, -7.0)))
    assert (right.value, right.parts["acc"], right.parts["acc_norm"]) == (1, 1, 1)
    wrong = task.score(item, answered("Answer: B", (-1.0, -5.0, -6.0, -7.0)))
    assert (wrong.value, wrong.parts["acc"]) == (1, 0)


def test_length_normalisation_is_by_bytes() -> None:
    task = PLUGINS.tasks["facts"]
    item = next(i for i in task.items("eval") if i.target == "A" and len(i.options[0]) > 2 * len(i.options[1]))
    score = task.score(item, answered("", (-2.0, -1.9, -90.0, -90.0)))
    assert (score.parts["acc"], score.parts["acc_norm"]) == (0, 1)


def test_every_option_of_the_facts_is_read_as_its_letter() -> None:
    """Domain PMI answers with an option's text; the scorer must see that option in it."""
    task = PLUGINS.tasks["facts"]
    for item in task.items("eval"):
        values = [task.score(item, Response(option, 0, 0, "stop")).value for option in item.options]
        assert values == [float(letter == item.target) for letter in "ABCD"]
