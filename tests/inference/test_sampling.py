"""Sampling by inversion, on plain logits."""

from __future__ import annotations

import pytest
import torch

from mipo_bench.harness.inference.sampling import Draws, inverse_transform_sample, nucleus, sample_tokens
from mipo_bench.harness.types import Decoding

N = 4000


def shares(probs: list[float], decoding: Decoding) -> torch.Tensor:
    """How often each token is sampled over many seeds."""
    logits = torch.log(torch.tensor([probs])).repeat(N, 1)
    draws = [Draws(seed, decoding).at(0) for seed in range(N)]
    return torch.bincount(torch.tensor(sample_tokens(logits, [decoding] * N, draws)), minlength=len(probs)) / N


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_tokens_come_as_often_as_their_probability_says(top_p: float) -> None:
    expected = torch.tensor([0.3, 0.05, 0.5, 0.15])
    if top_p < 1:
        expected = torch.tensor([0.3, 0.0, 0.5, 0.15]) / 0.95  # the nucleus
    found = shares([0.3, 0.05, 0.5, 0.15], Decoding(1, 1.0, top_p))
    assert torch.allclose(found, expected, atol=4 * (0.25 / N) ** 0.5)


def test_a_nucleus_with_more_tokens_than_are_sorted_first_is_sampled_whole() -> None:
    found = shares([1 / 200] * 200, Decoding(1, 1.0, 0.899))
    assert int((found > 0).sum()) == 180


def test_the_first_of_equal_tokens_at_the_border_belong_to_a_nucleus() -> None:
    probs = torch.tensor([[0.2, 0.1, 0.4, 0.1, 0.1, 0.1], [0.5, 0.1, 0.1, 0.1, 0.1, 0.1]])
    assert (nucleus(probs, [0.75, 0.5]) > 0).tolist() == [[True, True, True, True, False, False], [True] + [False] * 5]


def test_sums_over_a_large_vocabulary_do_not_wash_out_its_bounds() -> None:
    """The share that belongs to each of 151,936 equally likely tokens is the same to a millionth."""
    size = 151_936
    draws = [(token + side) / size for token in range(0, size, 9973) for side in (1e-6, 1 - 1e-6)]
    sampled = inverse_transform_sample(torch.full((1, size), 1.0).repeat(len(draws), 1) / size, draws)
    assert sampled.tolist() == [token for token in range(0, size, 9973) for _ in (0, 1)]


def test_a_low_temperature_sharpens_and_a_tiny_nucleus_is_greedy() -> None:
    assert shares([0.2, 0.6, 0.2], Decoding(1, 0.05))[1] == 1
    assert shares([0.2, 0.6, 0.2], Decoding(1, 1.0, 1e-6))[1] == 1
    assert shares([0.2, 0.6, 0.2], Decoding(1, 0.0))[1] == 1


def test_a_token_without_probability_is_never_sampled() -> None:
    probs = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]]).repeat(3, 1)
    assert inverse_transform_sample(probs, [0.0, 0.5, 1.0]).tolist() == [1, 3, 3]
    assert inverse_transform_sample(torch.zeros(1, 4), [0.5]).tolist() == [3]  # nothing to choose from: still a token


def test_each_row_is_sampled_as_if_it_were_alone() -> None:
    logits = torch.randn(60, 500, generator=torch.Generator().manual_seed(0)) * 3
    decodings = [Decoding(1, (0.0, 0.5, 1.0, 3.0)[i % 4], (1.0, 0.9, 0.3)[i % 3]) for i in range(60)]
    draws = [Draws(i, d).at(0) for i, d in enumerate(decodings)]
    alone = [sample_tokens(logits[i : i + 1], [decodings[i]], [draws[i]])[0] for i in range(60)]
    assert sample_tokens(logits, decodings, draws) == alone
