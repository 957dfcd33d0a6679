"""How likely given texts are after given prompts: the prompts are prefilled once, and the texts continue their caches.

The figure of a text depends on its own prompt and text alone, because all shapes do (see `forward`): texts are padded
to one of a few widths, or, where a batch has a single row (a large model on a CPU), not at all. The entry point is
`LikelihoodScorer.likelihoods`; `single_likelihood` serves models whose state cannot be continued row by row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from transformers import DynamicCache

from mipo_bench.harness.inference.forward import Forward, PrefilledPrompt, Tokens
from mipo_bench.harness.inference.shapes import in_parts
from mipo_bench.harness.protocols import Likelihood

_PROMPT_BATCHES = 4
"""Batches of prompts whose texts are computed together."""
Question = tuple[Tokens, Sequence[Tokens]]
"""A prompt with the texts that continue it."""
Place = tuple[int, int]
"""The number of a question, and of a text in it."""
OnTokens = Callable[[int, int], None]
"""Called with the number of tokens that were just computed, and of those of them that were scored."""


def _ignore(computed: int, scored: int) -> None:
    """Count nothing."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """A text of several tokens after a prefilled prompt."""

    place: Place
    prompt: PrefilledPrompt
    tokens: Tokens


class LikelihoodScorer:
    """Computes likelihoods with one model."""

    def __init__(self, forward: Forward) -> None:
        """Batches have the shapes of `forward`, and shrink with its memory."""
        self.forward = forward

    def likelihoods(self, questions: Sequence[Question], on_tokens: OnTokens = _ignore) -> list[list[Likelihood]]:
        """How likely each text is after its prompt: for each question, a figure for each of its texts.

        The first token of a text takes no computation of its own: the prompt's logits tell its probability.
        """
        if self.forward.batch_rows(1, 1) == 1:
            return self._one_by_one(questions, on_tokens)
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for i, (prompt, _) in enumerate(questions):
            groups[self.forward.width(len(prompt))].append(i)
        found: dict[Place, Likelihood] = {}
        for width, group in groups.items():
            group.sort(key=lambda i: max((len(text) for text in questions[i][1]), default=0))
            for part in in_parts(group, _PROMPT_BATCHES * self.forward.prompt_rows(width)):
                found.update(self._of_one_width({i: questions[i] for i in part}, width, on_tokens))
        return [[found[i, n] for n in range(len(texts))] for i, (_, texts) in enumerate(questions)]

    def _one_by_one(self, questions: Sequence[Question], on_tokens: OnTokens) -> list[list[Likelihood]]:
        """The same where a batch has a single row: no text is padded, so that all logits are those of a token.

        Prompts come in the order of their tokens: those that begin alike follow one another, and equal ones are
        prefilled once.
        """
        found: dict[Place, Likelihood] = {}
        order = sorted(range(len(questions)), key=lambda i: questions[i][0])
        for ids, group in groupby(order, key=lambda i: questions[i][0]):
            [prompt] = self.forward.prefill([ids])
            on_tokens(len(ids), 0)
            for i in group:
                for n, text in enumerate(questions[i][1]):
                    found[i, n] = self._continued_alone(prompt, text)
                    on_tokens(len(text), len(text))
        return [[found[i, n] for n in range(len(texts))] for i, (_, texts) in enumerate(questions)]

    def _continued_alone(self, prompt: PrefilledPrompt, tokens: Tokens) -> Likelihood:
        """One text after its prompt, without padding on either."""
        forward, length, columns = self.forward, len(prompt.ids), len(tokens) - 1
        logits = prompt.logits.unsqueeze(0)
        if columns > 0:
            forward.choose_attention(length + columns)
            out = forward.model(
                input_ids=forward.tensor([tokens[:-1]]),
                attention_mask=forward.masks.continuation(forward.tensor([length]), length, columns),
                position_ids=forward.tensor([range(length, length + columns)]),
                past_key_values=self._joined([prompt], 1, length),
                use_cache=True,
            )
            logits = torch.cat([logits, out.logits[0].float()])
        return likelihood(logits, forward.tensor(tokens))

    def _of_one_width(
        self, questions: Mapping[int, Question], width: int, on_tokens: OnTokens
    ) -> dict[Place, Likelihood]:
        """The texts of several batches of prompts of one width."""
        prompts: dict[Tokens, PrefilledPrompt] = {}
        for done in self.forward.prefill(prompt for prompt, _ in questions.values()):
            prompts[done.ids] = done
            on_tokens(len(done.ids), 0)
        longer: defaultdict[int, list[Continuation]] = defaultdict(list)
        single: list[Continuation] = []
        for i, (prompt, texts) in questions.items():
            for n, tokens in enumerate(texts):
                group = longer[self.forward.width(len(tokens) - 1)] if len(tokens) > 1 else single
                group.append(Continuation((i, n), prompts[prompt], tokens))
        found = dict(self._figures(single, (text.prompt.logits.unsqueeze(0) for text in single)))
        for columns, group in longer.items():
            for batch in in_parts(group, self._rows(width, columns)):
                found.update(self._continued(batch, width, columns))
                scored = sum(len(text.tokens) for text in batch)
                on_tokens(scored, scored)
        return found

    def _rows(self, width: int, columns: int) -> int:
        return self.forward.batch_rows(max(width, columns), columns)

    def _continued(self, batch: Sequence[Continuation], width: int, columns: int) -> list[tuple[Place, Likelihood]]:
        """Texts that are padded to one width, after prompts of one width."""

        def compute(part: Sequence[Continuation], rows: int) -> list[tuple[Place, Likelihood]]:
            logits = self._logits(part, rows, width, columns)
            after_each = (logits[row, : len(text.tokens) - 1].float() for row, text in enumerate(part))
            before = (text.prompt.logits.unsqueeze(0) for text in part)
            return self._figures(part, (torch.cat(own) for own in zip(before, after_each, strict=True)))

        return self.forward.in_memory(compute, batch, lambda: self._rows(width, columns))

    def _figures(self, texts: Sequence[Continuation], logits: Iterable[torch.Tensor]) -> list[tuple[Place, Likelihood]]:
        """The likelihoods of texts by the logits of their tokens, (tokens, vocabulary) of each.

        They come from the device at once: a GPU would wait for each.
        """
        if not texts:
            return []
        tokens = self.forward.padded([text.tokens for text in texts], len(texts), max(len(t.tokens) for t in texts))
        figures = [_figure(own, row[: len(text.tokens)]) for own, row, text in zip(logits, tokens, texts, strict=True)]
        return [
            (text.place, Likelihood(logprob, len(text.tokens), greedy == 1))
            for text, (logprob, greedy) in zip(texts, torch.stack(figures).tolist(), strict=True)
        ]

    def _logits(self, batch: Sequence[Continuation], rows: int, width: int, columns: int) -> torch.Tensor:
        """Logits after each token of each text, (rows, columns, vocabulary)."""
        forward = self.forward
        forward.choose_attention(width + columns)
        empty = [1] * (rows - len(batch))
        lengths = forward.tensor([len(text.prompt.ids) for text in batch] + empty)
        places = lengths.unsqueeze(1) + torch.arange(columns, device=forward.device)
        ends = forward.tensor([len(text.prompt.ids) + len(text.tokens) - 2 for text in batch] + empty).unsqueeze(1)
        logits: torch.Tensor = forward.model(
            input_ids=forward.padded([text.tokens[:-1] for text in batch], rows, columns),
            attention_mask=forward.masks.continuation(lengths, width, columns),
            position_ids=torch.minimum(places, ends),  # padding stays within the window of learned positions
            past_key_values=self._joined([text.prompt for text in batch], rows, width),
            use_cache=True,
        ).logits
        return logits

    def _joined(self, prompts: Sequence[PrefilledPrompt], rows: int, width: int) -> DynamicCache:
        """A KV cache of several prompts in so many columns, a row each; rows beyond them repeat the first."""
        cache = DynamicCache()
        repeated = [prompts[0]] * (rows - len(prompts))
        for number, (keys, values) in enumerate(self.forward.stacked([*prompts, *repeated], width)):
            cache.update(keys, values, number)
        return cache

    def single_likelihood(self, prompt: Tokens, text: Tokens) -> Likelihood:
        """A likelihood by one call of the model on prompt and text, without a cache."""
        forward = self.forward
        forward.choose_attention(len(prompt) + len(text))
        logits = forward.model(input_ids=forward.tensor([[*prompt, *text]]), use_cache=False).logits[0].float()
        return likelihood(logits[len(prompt) - 1 : -1], forward.tensor(text))


def likelihood(logits: torch.Tensor, tokens: torch.Tensor) -> Likelihood:
    """Sum the log-probabilities of tokens (time) under logits (time or more, vocabulary)."""
    logprob, greedy = _figure(logits, tokens).tolist()
    return Likelihood(logprob, len(tokens), greedy == 1)


def _figure(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The sum of the log-probabilities of tokens (time), and 1 where greedy decoding gives them, else 0.

    `logits` is (time or more, vocabulary).
    """
    logits = logits[: len(tokens)]
    logprobs = logits.log_softmax(dim=-1).gather(1, tokens.unsqueeze(1))
    greedy = (logits.argmax(dim=-1) == tokens).all()
    return torch.stack([logprobs.sum(), greedy.to(logprobs.dtype)])
