"""Overlap of splits: equal texts, near duplicates, and speed at 10,000 texts."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest

from mipo_bench.harness.diagnostics.overlap import GRAM, overlap, shingles, similarity

LONG = "Please give me some advice on how to plan a weekend trip to the mountains with two small children."


def grams(text: str) -> set[str]:
    return {text[n : n + GRAM] for n in range(len(text) - GRAM + 1)}


def test_case_and_white_space_do_not_make_a_text_new() -> None:
    found = overlap({"e": "What  is\nthis?"}, {"t": "what is THIS?", "u": "something else"})
    assert (found.same, found.near) == (1, 0)
    assert (found.examples[0].evaluation, found.examples[0].training) == ("e", "t")


def test_one_changed_word_is_a_near_duplicate_and_another_sentence_is_not() -> None:
    other = "How does a violin maker choose the wood of an instrument, and how long is it dried before use?"
    found = overlap({"near": LONG.replace("two", "six"), "far": other}, {"t": LONG})
    assert (found.same, found.near) == (0, 1)
    assert found.examples[0].evaluation == "near"


@pytest.mark.parametrize("other", [LONG.replace("two", "six"), LONG[:50], LONG[::-1], "weekend trip"])
def test_the_similarity_is_that_of_the_sets_of_character_n_grams(other: str) -> None:
    a, b = grams(LONG.lower()), grams(other.lower())
    assert similarity(shingles(LONG), shingles(other)) == pytest.approx(len(a & b) / len(a | b))


def test_the_threshold_is_exact_on_random_edits() -> None:
    rng = random.Random(0)
    training = {f"t{n}": " ".join(rng.choices(LONG.split(), k=30)) for n in range(50)}
    for name, text in training.items():
        words = text.split()
        for place in rng.sample(range(len(words)), rng.randint(1, 8)):
            words[place] = f"word{place}"
        edited = " ".join(words)
        best = max(similarity(shingles(edited), shingles(other)) for other in training.values())
        found = overlap({name: edited}, training)
        assert found.near == (best >= 0.8)


def test_short_and_empty_texts_are_compared_as_a_whole() -> None:
    assert overlap({"a": ""}, {"b": "x"}).near == 0
    assert overlap({"a": "ab"}, {"b": "abc"}).near == 0
    assert overlap({}, {}).examples == ()
    assert similarity(np.array([], dtype=np.uint64), np.array([], dtype=np.uint64)) == 1


@pytest.mark.slow
def test_ten_thousand_templates_take_seconds() -> None:
    texts = {f"e{n}": f"Tom has {n} apples and buys {n * 7 % 91} more; how many has he now?" for n in range(10000)}
    others = {
        f"t{n}": f"Tom has {n} apples and buys {n * 5 % 91} more; how many has he now?" for n in range(90000, 99999)
    }
    started = time.process_time()
    overlap(texts, others)
    assert time.process_time() - started < 30
