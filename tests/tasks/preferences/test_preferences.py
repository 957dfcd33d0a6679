"""The task `preferences`: its users, requests and splits, and the scores of responses as models give them."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import combinations

import pytest

from mipo_bench.harness.evaluation.shuffled_profiles import in_place_of, other_user_of, target_describes_user
from mipo_bench.harness.types import Item, Response
from mipo_bench.tasks.preferences.base_rates import BASE_RATES, COUNTED_BELOW
from mipo_bench.tasks.preferences.kinds import EXCLUDED, KINDS, LENGTHS, Preference, compatible, of_target, to_target
from mipo_bench.tasks.preferences.past_requests import PAST_REQUESTS
from mipo_bench.tasks.preferences.preferences import Preferences, checkable
from mipo_bench.tasks.preferences.requests import REQUESTS
from mipo_bench.tasks.preferences.users import FEWEST, MOST, counts
from mipo_bench.tasks.preferences.wordings import WORDINGS

TASK = Preferences()
HELD, TRAINED = TASK.items("eval"), TASK.items("train")
EVERY = [Preference(kind.name, value) for kind in KINDS.values() for value in kind.values]


def _score(item: Item, text: str) -> float:
    return TASK.score(item, Response(text, 1, 1, "stop")).value


def _item(*preferences: Preference, prompt: str = "Can I freeze cooked pasta?") -> Item:
    return Item("x", prompt, to_target(preferences), "user", "I study geology. Say what you like about it to me.")


def test_sizes() -> None:
    assert (len(HELD), len({item.user_id for item in HELD})) == (300, 100)
    assert (len(TRAINED), len({item.user_id for item in TRAINED})) == (600, 300)
    assert len(KINDS) >= 20
    assert len({request.field for request in REQUESTS}) >= 15
    assert len({request.text for request in REQUESTS}) == len(REQUESTS) >= 80
    assert all(len(set(wordings)) >= 4 for wordings in WORDINGS.values())
    assert set(WORDINGS) == set(KINDS)


def test_evaluation_and_training_share_no_request_combination_or_name() -> None:
    kinds, names, prompts = (
        [found(item) for item in HELD] + [found(item) for item in TRAINED] for found in (_kinds, _name, _prompt)
    )
    for values in (kinds, names, prompts):
        assert not (set(values[:300]) & set(values[300:])) - {None}
    shown = {turn.prompt for item in (*HELD, *TRAINED) for turn in item.demonstrations}
    assert not shown & {request.text for request in REQUESTS}


def _kinds(item: Item) -> frozenset[str]:
    return frozenset(preference.kind for preference in of_target(item.target))


def _name(item: Item) -> str | None:
    return next((preference.value for preference in of_target(item.target) if preference.kind == "name"), None)


def _prompt(item: Item) -> str:
    return item.prompt


@pytest.mark.parametrize("split", ["eval", "train"])
def test_every_user_has_four_to_six_compatible_preferences(split: str) -> None:
    for item in HELD if split == "eval" else TRAINED:
        kinds = [preference.kind for preference in of_target(item.target)]
        assert FEWEST <= len(kinds) == len(set(kinds)) <= MOST
        assert compatible(kinds)
        assert sum(kind in LENGTHS for kind in kinds) == 1
        assert sum(counts(preference) for preference in checkable(item)) >= 2


def test_the_exclusions_name_kinds_and_hold() -> None:
    assert all(len(pair) == 2 and pair <= set(KINDS) for pair in EXCLUDED)
    for contradiction in ("no_lists bullets", "table no_lists", "numbered_steps bullets", "emoji no_emoji"):
        assert not compatible(contradiction.split())
    assert not compatible(["max_words", "heading", "sentences"])
    assert compatible(["max_words", "heading", "no_lists"])


def test_every_pair_of_kinds_that_is_not_excluded_can_be_followed() -> None:
    tags = " ".join(sorted({kind.about for kind in KINDS.values()}))
    everything = Item("x", TASK.items("eval")[0].prompt, "", "user", "-")
    for one, other in combinations(KINDS, 2):
        if compatible([one, other]):
            wanted = [Preference(kind, KINDS[kind].values[0]) for kind in (one, other)]
            for past in PAST_REQUESTS[:1]:
                assert _follows(past.text, wanted), (one, other, tags, everything.prompt)


def _follows(text: str, wanted: list[Preference]) -> bool:
    from mipo_bench.tasks.preferences.checks.response_text import ResponseText
    from mipo_bench.tasks.preferences.model_answers import write

    past = next(past for past in PAST_REQUESTS if past.text == text)
    return all(preference.met_by(ResponseText(write(past, wanted))) for preference in wanted)


def test_each_preference_that_depends_on_the_request_is_checked_on_one_of_the_users_items() -> None:
    for split in (HELD, TRAINED):
        wanted = {(item.user_id, p.kind) for item in split for p in of_target(item.target)}
        checked = {(item.user_id, p.kind) for item in split for p in checkable(item)}
        assert wanted == checked
    kinds = Counter(p.kind for item in HELD for p in checkable(item))
    assert set(kinds) == set(KINDS)


def test_the_note_states_every_preference_in_words() -> None:
    for item in HELD:
        for preference in of_target(item.target):
            stated = [w.split("{}")[-1][1:].strip(" .") for w in WORDINGS[preference.kind]]
            assert any(words in str(item.context) for words in stated), (item.context, preference)


def test_demonstrations_follow_what_can_be_checked_on_them() -> None:
    from mipo_bench.tasks.preferences.checks.response_text import ResponseText

    for item in (*HELD, *TRAINED):
        always = [p for p in of_target(item.target) if p.concerns(())]
        assert len(item.demonstrations) == 2
        for turn in item.demonstrations:
            assert all(p.met_by(ResponseText(turn.response)) for p in always)


def test_every_preference_has_a_base_rate_and_those_met_anyway_do_not_count() -> None:
    assert {preference.measured_as for preference in EVERY} == set(BASE_RATES)
    assert all(0 <= rate <= 1 for rate in BASE_RATES.values())
    assert not counts(Preference("no_emoji"))
    assert counts(Preference("closing_question"))
    assert 0.5 <= COUNTED_BELOW <= 0.8


def test_a_preference_that_does_not_count_is_a_part_and_not_in_the_score() -> None:
    item = _item(Preference("no_emoji"), Preference("closing_question"), Preference("type_hints"))
    score = TASK.score(item, Response("You can freeze it for two months, but cool it first.", 1, 1, "stop"))
    assert (score.value, score.parts) == (0.0, {"no_emoji": 1.0, "closing_question": 0.0})


def test_the_score_is_the_share_met() -> None:
    item = _item(Preference("max_words", "40"), Preference("closing_question"), Preference("name", "Greta"))
    assert _score(item, "You can freeze it for two months, but cool it first.") == pytest.approx(1 / 3)
    assert _score(item, "Greta, you can freeze it for two months. Will you?") == 1


@pytest.mark.parametrize("text", ["", "Sure.", "I'm sorry, but I can't help with that.", "Freeze it now, Greta. " * 20])
def test_nothing_is_met_by_saying_nothing(text: str) -> None:
    item = _item(
        Preference("no_lists"), Preference("max_words", "40"), Preference("no_markdown"), Preference("no_emoji")
    )
    score = TASK.score(item, Response(text, 1, 1, "stop"))
    assert (score.value, score.parsed, set(score.parts.values())) == (0.0, False, {0.0})


def test_the_users_own_note_scores_nothing() -> None:
    assert {_score(item, f"{item.context}") for item in HELD} == {0.0}
    assert {_score(item, f"Of course. {item.context} Is that right?") for item in HELD} == {0.0}


def test_a_cut_response_is_scored_as_it_stands() -> None:
    item = _item(Preference("heading"), Preference("closing_summary"))
    cut = TASK.score(item, Response("# Pasta\n\nYou can freeze it for two months if you cool it and", 1, 160, "length"))
    assert cut.parts == {"heading": 1.0, "closing_summary": 0.0}


def test_the_shuffled_profile_control_scores_under_another_users_preferences() -> None:
    assert target_describes_user(TASK, HELD)
    other = other_user_of(HELD)
    own = [_score(item, TASK.gold(item)) for item in HELD]
    shuffled = [_score(in_place_of(item, other[item.id]), TASK.gold(item)) for item in HELD]
    assert sum(own) == 300
    assert sum(shuffled) < 200


def test_importing_the_task_imports_no_library_of_its_checks() -> None:
    code = (
        "import sys; import mipo_bench.tasks.preferences.preferences; "
        "print({'markdown_it', 'sentencex', 'py3langid', 'emoji'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
