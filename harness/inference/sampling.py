"""Sampling of the next token of each row: greedy, or by inversion with the row's own random numbers.

`sample_tokens` takes the logits of a batch. Every step works on each row by itself, so that the token of a row does not
depend on the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mipo_bench.harness.inference.memory import on_device
from mipo_bench.harness.types import Decoding

_SORTED_FIRST = 64
"""Tokens that are sorted first: a nucleus is seldom larger, and sorting a whole vocabulary takes far longer."""


class Draws:
    """The uniform random numbers of one response: one for each step, from the request's seed alone."""

    def __init__(self, seed: int, decoding: Decoding) -> None:
        """Draw all of them; greedy decoding needs none."""
        self.numbers = np.random.default_rng(seed).random(decoding.max_new_tokens) if decoding.temperature > 0 else None

    def at(self, step: int) -> float:
        """The number for a step, in [0, 1)."""
        return 0.0 if self.numbers is None else float(self.numbers[step])


def sample_tokens(logits: torch.Tensor, decodings: Sequence[Decoding], draws: Sequence[float]) -> list[int]:
    """The next token of each row; `logits` is (rows, vocabulary), `draws` has a number in [0, 1) for each row."""
    chosen = logits.argmax(dim=-1)
    rows = [i for i, d in enumerate(decodings) if d.temperature > 0]
    if rows:
        at = on_device(rows, logits.device, torch.long)
        chosen[at] = _sampled(logits[at], chosen[at], [decodings[i] for i in rows], [draws[i] for i in rows])
    return [int(token) for token in chosen.tolist()]


def _sampled(
    logits: torch.Tensor, likeliest: torch.Tensor, decodings: Sequence[Decoding], draws: Sequence[float]
) -> torch.Tensor:
    """Tokens of rows that are sampled, given the likeliest ones, each of which may be the whole nucleus of its row."""
    temperature = on_device([d.temperature for d in decodings], logits.device, logits.dtype).unsqueeze(1)
    probs, top_p = (logits / temperature).softmax(dim=-1), [d.top_p for d in decodings]
    greatest = probs.gather(1, likeliest.unsqueeze(1)).squeeze(1)
    is_open = greatest < on_device(top_p, probs.device, _summing_dtype(probs))
    if probs.device.type != "cpu" and min(top_p) >= 1:  # waiting for `is_open` takes longer than drawing in all rows
        return torch.where(is_open, _drawn(probs, top_p, draws), likeliest)
    if rows := [n for n, more in enumerate(is_open.tolist()) if more]:
        at = on_device(rows, probs.device, torch.long)
        likeliest[at] = _drawn(probs[at], [top_p[n] for n in rows], [draws[n] for n in rows])
    return likeliest


def _drawn(probs: torch.Tensor, top_p: Sequence[float], draws: Sequence[float]) -> torch.Tensor:
    cut = [n for n, share in enumerate(top_p) if share < 1]
    if cut:
        at = on_device(cut, probs.device, torch.long)
        probs[at] = nucleus(probs[at], [top_p[n] for n in cut])
    return inverse_transform_sample(probs, draws)


def inverse_transform_sample(probs: torch.Tensor, draws: Sequence[float]) -> torch.Tensor:
    """Inverse transform sampling: the index at which the cumulated probability passes its draw times its total.

    `probs` is (rows, n) and need not sum to 1, `draws` has a number in [0, 1) for each row; the index is (rows). An
    index of probability 0 is never returned.
    """
    cumulated = probs.cumsum(dim=-1, dtype=_summing_dtype(probs))
    total = cumulated[:, -1:].contiguous()
    wanted = on_device(draws, cumulated.device, cumulated.dtype).unsqueeze(1) * total
    wanted = torch.minimum(wanted, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulated, wanted, right=True).squeeze(1).clamp(max=probs.shape[-1] - 1)


def nucleus(probs: torch.Tensor, top_p: Sequence[float]) -> torch.Tensor:
    """The probabilities, (rows, n), with 0 outside the nucleus of each row (Holtzman et al. 2020, arXiv 1904.09751).

    Of equally likely tokens at its border the first ones are in it: their order after a sort is arbitrary, and logits
    of 16 bits often tie.
    """
    wanted = on_device(top_p, probs.device, _summing_dtype(probs))
    largest = probs.topk(min(_SORTED_FIRST, probs.shape[-1]), dim=-1).values
    least, size = _nucleus_threshold(largest, wanted)
    wide = (largest.sum(dim=-1, dtype=wanted.dtype) < wanted).nonzero().squeeze(1)
    if len(wide):
        least[wide], size[wide] = _nucleus_threshold(probs[wide].sort(dim=-1, descending=True).values, wanted[wide])
    inside = probs >= least
    excess = inside.sum(dim=-1, keepdim=True) - size
    more = excess.squeeze(1).nonzero().squeeze(1)
    if len(more):
        tied = probs[more] == least[more]
        place = tied.cumsum(dim=-1)
        inside[more] &= ~tied | (place <= place[:, -1:] - excess[more])
    return probs.masked_fill(~inside, 0.0)


def _nucleus_threshold(falling: torch.Tensor, top_p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of sorted probabilities, (rows, n): the smallest that `top_p` needs, and how many it needs; both (rows, 1)."""
    kept = falling.cumsum(dim=-1, dtype=top_p.dtype) - falling < top_p.unsqueeze(1)
    return falling.masked_fill(~kept, 1.0).amin(dim=-1, keepdim=True), kept.sum(dim=-1, keepdim=True)


def _summing_dtype(probs: torch.Tensor) -> torch.dtype:
    """The number format that probabilities are summed in.

    The order of a sum on a GPU depends on the number of rows. In 32 bits that moves the bounds between the tokens of a
    large vocabulary by a percent of their distance. Apple's GPUs have no more bits.
    """
    return torch.float32 if probs.device.type == "mps" else torch.float64
