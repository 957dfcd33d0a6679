"""Mutual information: exact values by enumeration, and values from the stages of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeGenerator

from mipo_bench.baselines.prompting.no_context import NoContext
from mipo_bench.baselines.prompting.plain import Plain
from mipo_bench.baselines.prompting.profile import Profile
from mipo_bench.harness.config.schema import InformationConfig
from mipo_bench.harness.core.progress import Stage
from mipo_bench.harness.diagnostics.mutual_information import contrast_prompts, measure, pointwise
from mipo_bench.harness.evaluation.arm_answers import AnsweringModel, ArmAnswers, render_arm
from mipo_bench.harness.evaluation.cached_answers import answer
from mipo_bench.harness.generators.chat_template import with_end_of_turn
from mipo_bench.harness.planning.plan import TaskPlan
from mipo_bench.harness.protocols import Arm, Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Baseline, Decoding, Item, Response, Score, Split, Suite
from mipo_bench.reports.analysis.information import info_nce
from mipo_bench.reports.records.information import MeasuredRecord

QUARTERS = {
    "ann": {"yes": 2, "no": 1, "well": 1},
    "bob": {"yes": 1, "no": 3},
    "cid": {"no": 1, "well": 3},
    "dot": {"yes": 4},
    "eve": {"yes": 1, "no": 1, "well": 2},
}
"""p(y | user) in quarters: a world that can be enumerated."""
USERS = tuple(QUARTERS)
TEXTS = ("yes", "no", "well")
TINY = -50.0
"""Log-probability in place of log 0, so that the bounds stay finite."""


def logp(text: str, user: str) -> float:
    quarters = QUARTERS[user].get(text, 0)
    return math.log(quarters / 4) if quarters else TINY


def true_information() -> float:
    """I(user; text) for equally frequent users."""
    p = np.array([[QUARTERS[u].get(t, 0) / 4 for t in TEXTS] for u in USERS])
    marginal = p.mean(axis=0)
    ratio = np.divide(p, marginal, out=np.ones_like(p), where=p > 0)
    return float((p * np.log(ratio)).sum() / len(USERS))


def expectation(k: int) -> tuple[float, float]:
    """Both estimators averaged over every user, every text and every ordered choice of k other users."""
    upper, lower, weight = 0.0, 0.0, 0.0
    for user in USERS:
        for others in permutations([u for u in USERS if u != user], k):
            for text, quarters in QUARTERS[user].items():
                [pmi] = pointwise(logp(text, user), [logp(text, u) for u in others], [k])
                upper += quarters * pmi
                lower += quarters * float(info_nce(np.array([pmi]), k)[0])
                weight += quarters
    return upper / weight, lower / weight


def test_the_two_estimators_bracket_the_true_value() -> None:
    truth = true_information()
    found = [expectation(k) for k in (1, 2, 3, 4)]
    assert all(lower <= truth + 1e-12 <= upper for upper, lower in found)
    assert all(lower <= math.log(k + 1) for k, (_, lower) in enumerate(found, start=1))
    assert sorted(found, key=lambda both: both[1]) == found  # InfoNCE grows with K ...
    assert sorted(found, key=lambda both: -both[0]) == found  # ... and the leave-one-out bound falls


def test_info_nce_over_everybody_is_the_true_value() -> None:
    assert expectation(len(USERS) - 1)[1] == pytest.approx(true_information(), abs=1e-12)


def test_the_bound_with_one_other_is_the_mean_divergence_between_users() -> None:
    pairs = list(permutations(USERS, 2))
    divergence = sum(
        quarters / 4 * (logp(text, a) - logp(text, b)) for a, b in pairs for text, quarters in QUARTERS[a].items()
    )
    assert expectation(1)[0] == pytest.approx(divergence / len(pairs), abs=1e-12)


def test_info_nce_reaches_its_ceiling_and_no_more() -> None:
    certain = info_nce(np.array([1000.0, 0.0, -1000.0]), 16)
    assert certain[0] == pytest.approx(math.log(17))
    assert certain[1] == pytest.approx(0)
    assert np.isfinite(certain).all()


def test_figures_are_nested_and_survive_tiny_probabilities() -> None:
    one, two = pointwise(-900.0, [-1000.0, -1000.0], [1, 2])
    assert one == pytest.approx(100)
    assert two == pytest.approx(100)
    assert pointwise(-1.0, [-3.0, -1.0], [1, 2])[0] == pytest.approx(2)
    assert pointwise(-1.0, [-3.0, -1.0], [1, 2])[1] == pytest.approx(-1 - math.log((math.exp(-3) + math.exp(-1)) / 2))


class World:
    """Each user has four items, which get each text as often as its probability has quarters."""

    name = "world"
    suite: Suite = "personalized"
    version = 1
    description = ""
    binary = False
    reasoning = False
    reference = "profile"
    max_new_tokens = 8

    def __init__(self, *, users: bool = True) -> None:
        rows = [(u, t, n) for u in USERS for t, count in QUARTERS[u].items() for n in range(count)]
        self.answers = {f"{u}-{t}-{n}": t for u, t, n in rows}
        self._items = tuple(
            Item(f"{u}-{t}-{n}", "How?", t, u, f"about {u}")
            if users
            else Item(f"{u}-{t}-{n}", f"about {u}, {t}, {n}", t)
            for u, t, n in rows
        )

    def items(self, split: Split) -> tuple[Item, ...]:
        return self._items

    def score(self, item: Item, response: Response) -> Score:
        return Score(float(response.text == item.target))

    def gold(self, item: Item) -> str:
        return item.target

    def wrong(self, item: Item) -> str:
        return "never"


class Countable(FakeGenerator):
    """Answers with the texts of the world in their shares, and knows their probabilities."""

    def __init__(self, digest: str, finish: str = "stop") -> None:
        super().__init__(digest, lambda request: "")
        self.finish = finish
        self.texts: list[str] = []
        self.questions: list[LikelihoodRequest] = []

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        for position, (request, text) in enumerate(zip(requests, self.texts, strict=True)):
            self.asked.append(request)
            yield position, Response(text, 1, 1, "stop")

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        for position, question in enumerate(asked):
            self.questions.append(question)
            [user] = [u for u in USERS if f"about {u}" in question.prompt]
            yield position, tuple(Likelihood(logp(text, user), 1, greedy=False) for text in question.texts)


def plan_of(world: World, reference: str = "profile") -> TaskPlan:
    items = world.items("eval")
    return TaskPlan(world, items, (), reference, (reference,), (), Decoding(8, 1.0))


def evaluated(task: TaskPlan, baseline: Baseline, generator: Countable, store: Store, arm: Arm) -> ArmAnswers:
    generator.texts = [i.target for i in task.items]
    done = render_arm(task, baseline, arm, AnsweringModel(generator, generator.digest)).answers()
    requests = list(done.requests.values())
    assert len({r.seed for r in requests}) == len(requests)
    answer(generator, requests, store, Stage("", ""))
    return done


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def cell(cells: Sequence[MeasuredRecord], method: str, weights: str) -> MeasuredRecord:
    [found] = [c for c in cells if (c.method, c.weights) == (method, weights)]
    return found


def test_the_stages_give_the_true_value_where_everybody_is_a_contrast(store: Store) -> None:
    task, settings, generator = plan_of(World()), InformationConfig(contexts=16), Countable("base")
    found = contrast_prompts(task, Profile(), generator, settings)
    assert found is not None
    assert (found.over, found.contexts) == ("contexts", (1, 4))
    done = evaluated(task, Profile(), generator, store, Arm("world", "profile"))
    measured = measure([done], found, settings, store, Stage("", ""))
    [own] = measured.cells
    everybody = np.array(own.pmi[-1])
    assert len(everybody) == len(task.items)
    assert info_nce(everybody, 4).mean() == pytest.approx(true_information(), abs=1e-4)
    assert everybody.mean() == pytest.approx(expectation(4)[0], abs=1e-4)


def test_a_second_measurement_computes_nothing(store: Store) -> None:
    task, settings, generator = plan_of(World()), InformationConfig(contexts=16), Countable("base")
    found = contrast_prompts(task, Profile(), generator, settings)
    assert found is not None
    done = evaluated(task, Profile(), generator, store, Arm("world", "profile"))
    first = measure([done], found, settings, store, Stage("", ""))
    asked = len(generator.questions)
    assert asked == len(USERS)  # each prompt once, with every text that is asked of it
    assert measure([done], found, settings, store, Stage("", "")) == first
    assert len(generator.questions) == asked


def test_an_arm_that_does_not_show_the_context_has_nothing_to_measure() -> None:
    assert (
        contrast_prompts(plan_of(World(), "no-context"), NoContext(), Countable("base"), InformationConfig(contexts=16))
        is None
    )


def test_without_users_other_prompts_of_the_measured_items_are_taken() -> None:
    task = plan_of(World(users=False), "plain")
    found = contrast_prompts(task, Plain(), Countable("base"), InformationConfig(items=6, contexts=3))
    assert found is not None
    assert (found.over, found.contexts, len(found.prompts)) == ("prompts", (1, 3), 6)
    for name, others in found.others.items():
        assert len(set(others)) == 3
        assert set(others) <= set(found.prompts.values()) - {found.prompts[name]}


def test_fewer_contexts_are_the_first_of_more() -> None:
    task = plan_of(World())
    few, many = (
        contrast_prompts(task, Profile(), Countable("base"), InformationConfig(contexts=k, items=5)) for k in (2, 4)
    )
    assert few is not None
    assert many is not None
    assert all(many.others[name][:2] == others for name, others in few.others.items())


def test_the_trained_arm_is_scored_by_itself_and_by_the_base_model(store: Store) -> None:
    task, settings = plan_of(World()), InformationConfig(contexts=16)
    base, trained = Countable("base"), Countable("trained")
    found = contrast_prompts(task, Profile(), base, settings)
    assert found is not None
    arms = [
        evaluated(task, Profile(), base, store, Arm("world", "profile")),
        evaluated(task, Profile(), trained, store, Arm("world", "profile", "mipo-random", 0)),
    ]
    cells = measure(arms, found, settings, store, Stage("", "")).cells
    assert [(c.method, c.train_seed, c.weights) for c in cells] == [
        ("profile", None, "own"),
        ("mipo-random", 0, "own"),
        ("mipo-random", 0, "base"),
    ]
    assert cell(cells, "mipo-random", "own").pmi == cell(cells, "mipo-random", "base").pmi
    assert trained.questions
    assert {q.prompt for q in trained.questions} == {q.prompt for q in base.questions}


def test_responses_can_be_sampled_for_the_purpose(store: Store) -> None:
    task, settings, generator = plan_of(World()), InformationConfig(contexts=16, temperature=1.0), Countable("base")
    found = contrast_prompts(task, Profile(), generator, settings)
    assert found is not None
    done = evaluated(task, Profile(), generator, store, Arm("world", "profile"))
    before = len(generator.asked)
    measure([done], found, settings, store, Stage("", ""))
    sampled = generator.asked[before:]
    assert len(sampled) == len(task.items)
    assert {r.decoding.temperature for r in sampled} == {1.0}
    assert not {r.seed for r in sampled} & {r.seed for r in done.requests.values()}


def test_the_end_counts_where_the_response_ended() -> None:
    assert with_end_of_turn(Response("so", 1, 1, "stop"), "<end>") == "so<end>"
    assert with_end_of_turn(Response("so", 1, 1, "length"), "<end>") == "so"


def test_items_with_an_overflow_are_not_measured(store: Store) -> None:
    task, settings, generator = plan_of(World()), InformationConfig(contexts=16), Countable("base")
    found = contrast_prompts(task, Profile(), generator, settings)
    assert found is not None
    done = evaluated(task, Profile(), generator, store, Arm("world", "profile"))
    key = done.keys[task.items[0].id]
    store.database.execute("DELETE FROM responses WHERE key = ?", (key,))
    store.put_responses([(key, Response("", 9, 0, "overflow"))])
    measured = measure([done], found, settings, store, Stage("", ""))
    assert task.items[0].id not in measured.items
    assert measured.left_out == 1


def test_an_empty_response_has_no_information(store: Store) -> None:
    task, settings, generator = plan_of(World()), InformationConfig(contexts=16), Countable("base")
    found = contrast_prompts(task, Profile(), generator, settings)
    assert found is not None
    done = render_arm(task, Profile(), Arm("world", "profile"), AnsweringModel(generator, "base")).answers()
    store.put_responses([(key, Response("", 1, 0, "stop")) for key in done.keys.values()])
    [own] = measure([done], found, settings, store, Stage("", "")).cells
    assert {value for row in own.pmi for value in row} == {0.0}
    assert not generator.questions
