"""Diversity at equal length, with exact figures for texts that can be counted by hand."""

from __future__ import annotations

import random

import pytest

from mipo_bench.harness.diagnostics.diversity import MOST, distinct, diversity, self_bleu

WORDS = [f"w{n}" for n in range(500)]


def texts(seed: int, words: int, count: int = 60, vocabulary: int = 500) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS[:vocabulary], k=words)) for _ in range(count)]


def test_distinct_n_counts_n_grams() -> None:
    assert distinct([["a", "b", "a"], ["a", "b"]], 1) == pytest.approx(2 / 5)
    assert distinct([["a", "b", "a"], ["a", "b"]], 2) == pytest.approx(2 / 3)
    assert distinct([["a"]], 2) == 0


def test_self_bleu_is_one_for_copies_and_near_zero_for_unrelated_texts() -> None:
    assert self_bleu([["a", "b", "c", "d", "e"]] * 3) == pytest.approx(1)
    assert self_bleu([[f"{n}{c}" for c in "abcdef"] for n in range(4)]) < 0.05


def test_length_and_number_of_texts_are_the_same_for_all_arms() -> None:
    found = diversity({"short": texts(0, 12), "long": texts(1, 80), "many": texts(2, 30, count=300)})
    assert {(d.texts, d.words) for d in found.values()} == {(MOST, 12)}
    assert found["long"].distinct_2 == pytest.approx(found["short"].distinct_2, abs=0.02)


def test_a_narrow_vocabulary_shows_in_both_figures() -> None:
    found = diversity({"wide": texts(0, 20), "narrow": texts(0, 20, vocabulary=5)})
    assert found["narrow"].distinct_2 < found["wide"].distinct_2
    assert found["narrow"].self_bleu > found["wide"].self_bleu + 0.1


def test_an_arm_of_one_word_responses_leaves_the_figures_of_the_others() -> None:
    found = diversity({"letters": ["B"] * 100, "texts": texts(0, 20)})
    assert set(found) == {"texts"}
    assert diversity({"letters": ["B"] * 100, "nothing": []}) == {}


def test_the_figures_repeat() -> None:
    arms = {"a": texts(0, 20, count=200), "b": texts(1, 25)}
    assert diversity(arms) == diversity(arms)
