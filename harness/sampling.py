"""Picking the next token of each row: greedy, or by inversion with the row's own random numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mipo_bench.harness.types import Decoding

if TYPE_CHECKING:
    import torch

_LIKELY = 64
"""Tokens that are sorted first: a nucleus is seldom larger, and sorting a whole vocabulary takes far longer."""


class Draws:
    """The uniform random numbers of one response: one for each step, from the request's seed alone."""

    def __init__(self, seed: int, decoding: Decoding) -> None:
        """Draw all of them; greedy decoding needs none."""
        self.numbers = np.random.default_rng(seed).random(decoding.max_new_tokens) if decoding.temperature > 0 else None

    def at(self, step: int) -> float:
        """The number for a step, in [0, 1)."""
        return 0.0 if self.numbers is None else float(self.numbers[step])


def pick(scores: torch.Tensor, decodings: list[Decoding], draws: list[float]) -> list[int]:
    """The next token of each row; `scores` are logits, (rows, vocabulary).

    Every step works on each row by itself, so a row's token does not depend on the others.
    """
    chosen = scores.argmax(dim=-1)
    for whole in (True, False):
        rows = [i for i, d in enumerate(decodings) if d.temperature > 0 and (d.top_p >= 1) == whole]
        if rows:
            heat = scores.new_tensor([decodings[i].temperature for i in rows]).unsqueeze(1)
            draw = scores.new_tensor([draws[i] for i in rows]).unsqueeze(1)
            probs = (scores[rows] / heat).softmax(dim=-1)
            if whole:
                chosen[rows] = invert(probs, draw)
            else:
                chosen[rows] = _from_nucleus(probs, draw, scores.new_tensor([decodings[i].top_p for i in rows]))
    return [int(token) for token in chosen.tolist()]


def invert(probs: torch.Tensor, draw: torch.Tensor) -> torch.Tensor:
    """The index at which the cumulated probability passes `draw` times its total, for each row.

    `probs` is (rows, n) and need not sum to 1, `draw` (rows, 1) in [0, 1]; the index is (rows). An index of
    probability 0 is never returned.
    """
    import torch

    mass = probs.cumsum(dim=-1)
    total = mass[:, -1:].contiguous()
    wanted = torch.minimum(draw * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(mass, wanted, right=True).squeeze(1).clamp(max=probs.shape[-1] - 1)


def _from_nucleus(probs: torch.Tensor, draw: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Sample from the nucleus (Holtzman et al. 2020, arXiv 1904.09751), tokens in order of falling probability."""
    likely, tokens = probs.topk(min(_LIKELY, probs.shape[-1]), dim=-1)
    chosen = _nucleus(likely, tokens, draw, top_p)
    wide = (likely.sum(dim=-1) < top_p).nonzero().squeeze(1)
    if len(wide):
        likely, tokens = probs[wide].sort(dim=-1, descending=True)
        chosen[wide] = _nucleus(likely, tokens, draw[wide], top_p[wide])
    return chosen


def _nucleus(likely: torch.Tensor, tokens: torch.Tensor, draw: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Cut each sorted row where `top_p` is reached, and sample from what is left."""
    kept = likely.cumsum(dim=-1) - likely < top_p.unsqueeze(1)
    place = invert(likely * kept, draw)
    return tokens.gather(1, place.unsqueeze(1)).squeeze(1)
