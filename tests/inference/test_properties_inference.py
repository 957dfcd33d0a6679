"""Sampling against exact arithmetic: probabilities are multiples of 1/4096, so that no sum rounds."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from mipo_bench.harness.inference.sampling import inverse_transform_sample, nucleus

UNIT = 4096
WEIGHTS = st.one_of(
    st.lists(st.integers(0, 60), min_size=1, max_size=12),
    st.lists(st.integers(0, 3), min_size=60, max_size=150),  # wider than what is sorted first, with many ties
).filter(any)
ROWS = st.integers(1, 100).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, 20), min_size=n, max_size=n).filter(any), min_size=1, max_size=4)
)


def tensor(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32) / UNIT


def smallest_set(weights: Sequence[int], top_p: int) -> list[int]:
    """The weights of the nucleus: the most likely tokens first, of equals the first, until they hold `top_p`."""
    kept, mass = [0] * len(weights), 0
    for index in sorted(range(len(weights)), key=lambda i: (-weights[i], i)):
        if mass >= top_p:
            break
        kept[index] = weights[index]
        mass += weights[index]
    return kept


@given(weights=WEIGHTS, top_p=st.integers(1, UNIT))
def test_the_nucleus_is_the_smallest_set_of_the_most_likely_tokens(weights: list[int], top_p: int) -> None:
    found = nucleus(tensor([weights]), [top_p / UNIT])
    assert (found[0] * UNIT).tolist() == smallest_set(weights, top_p)


@example(weights=[0, 1, 3], draw=0)
@example(weights=[0, 1, 3], draw=UNIT // 4)
@given(weights=WEIGHTS, draw=st.integers(0, UNIT - 1))
def test_a_draw_picks_the_token_whose_interval_it_falls_into(weights: list[int], draw: int) -> None:
    share = Fraction(draw, UNIT)
    bounds = [Fraction(mass, sum(weights)) for mass in accumulate(weights)]
    assert inverse_transform_sample(tensor([weights]), [draw / UNIT]).tolist() == [
        next(i for i, b in enumerate(bounds) if b > share)
    ]


@given(rows=ROWS, top_p=st.integers(1, UNIT), draw=st.integers(0, UNIT - 1))
def test_a_row_gets_the_same_token_alone_and_among_others(rows: list[list[int]], top_p: int, draw: int) -> None:
    shares, draws = [top_p / UNIT] * len(rows), [draw / UNIT] * len(rows)
    together = inverse_transform_sample(nucleus(tensor(rows), shares), draws).tolist()
    assert together == [inverse_transform_sample(nucleus(tensor([row]), shares[:1]), draws[:1]).item() for row in rows]
