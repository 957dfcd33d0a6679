"""A probe of a model's architecture: whether it can be computed in slots, and what they may do.

`SlotProbe.run` computes a few tokens of one prompt in several ways and compares the bits. `Decoder` runs it once for
each loaded model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mipo_bench.harness.errors import ModelError, first_line
from mipo_bench.harness.inference.forward import Forward, PrefilledPrompt
from mipo_bench.harness.inference.likelihoods import LikelihoodScorer, likelihood
from mipo_bench.harness.inference.memory import is_out_of_memory
from mipo_bench.harness.inference.slots import SlotBatch
from mipo_bench.harness.protocols import Likelihood

PROBE_ROWS, PROBE_COLUMNS = 32, 384
"""The slots of a probe, unless the batch size says otherwise."""
_ROW_COUNTS = tuple(sorted(n << k for n in (2, 3) for k in range(7)))
"""Numbers of slots that may be computed alone: of those computed, a third is idle at most."""
_PROMPT_TOKENS = 12
_STEPS = 3
_TOLERANCE = {"float32": 1e-3, "float64": 1e-3}
_COARSE_TOLERANCE = 5e-2
"""Share of the range of the logits by which slots may differ from a plain call, by number format."""


@dataclass(frozen=True, slots=True)
class SlotSupport:
    """The result of a probe: whether a model can be computed in slots.

    `rows_round_alike`: all rows of a batch are rounded alike. `resizable`: masked columns leave every bit as it is.
    `row_counts`: so few slots may be computed alone, which leaves every bit as it is. `cuda_graph`: steps can be
    captured as a CUDA graph.
    """

    supported: bool
    reason: str = ""
    """The reason why slots are not supported."""
    rows_round_alike: bool = True
    resizable: bool = False
    row_counts: tuple[int, ...] = ()
    cuda_graph: bool = False


class SlotProbe:
    """Computes one prompt in slots: against a plain call, and row against row."""

    def __init__(self, forward: Forward, rows: int) -> None:
        """`rows` is the number of slots."""
        self.forward, self.rows = forward, rows
        vocabulary = forward.model.config.get_text_config().vocab_size
        self.ids = tuple((7 * i + 11) % vocabulary for i in range(_PROMPT_TOKENS + _STEPS))
        self.prompt, self.text = self.ids[:_PROMPT_TOKENS], self.ids[_PROMPT_TOKENS:]

    @torch.inference_mode()
    def run(self) -> SlotSupport:
        """Raises ModelError where the model's logits are no numbers, and any error of an architecture without slots."""
        plain, width = self._plain(), self.forward.width(_PROMPT_TOKENS)
        prompts = self.forward.prefill_batch([self.prompt] * self.forward.prompt_rows(width), width)
        by_graph = self._stepped_by_cuda_graph(prompts[0])
        full = by_graph or self._stepped(prompts[0])
        resized = None if by_graph else self._stepped(prompts[0], resizable=True)
        questions = [(self.prompt, [self.text])] * len(prompts)
        likelihoods = [row[0] for row in LikelihoodScorer(self.forward).likelihoods(questions)]
        share = self._deviation(plain, [prompts[0].logits, *(logits[0] for logits in full)], likelihoods[0])
        dtype = str(self.forward.model.dtype).removeprefix("torch.")
        if not share <= _TOLERANCE.get(dtype, _COARSE_TOLERANCE):
            return SlotSupport(supported=False, reason=f"logits differ by {share:.0%} of their range")
        alike = all(bool((logits == logits[0]).all()) for logits in full) and len(set(likelihoods)) == 1
        alike &= all(bool((p.logits == prompts[0].logits).all()) for p in prompts)
        return SlotSupport(
            supported=True,
            rows_round_alike=alike,
            row_counts=() if by_graph or not alike else self._row_counts(prompts[0], full[0]),
            resizable=resized is not None and all(bool((a == b).all()) for a, b in zip(full, resized, strict=True)),
            cuda_graph=by_graph is not None,
        )

    def _plain(self) -> torch.Tensor:
        """Logits after the prompt and after each further token, from one call of the model."""
        ids = self.forward.tensor([self.ids])
        logits: torch.Tensor = (
            self.forward.model(input_ids=ids, use_cache=False).logits[0, _PROMPT_TOKENS - 1 :].float()
        )
        if bool((logits.isnan() | logits.isposinf()).any()):  # a token that must not come may have minus infinity
            raise ModelError(
                "the model's scores are no numbers (NaN or infinite): its weights are damaged, or have grown too large"
                " in training (lower train.lr)."
            )
        return logits

    def _deviation(self, plain: torch.Tensor, stepped: Sequence[torch.Tensor], found: Likelihood) -> float:
        """The largest difference to the plain call, as a share of the range of its logits."""
        apart = max(float((a - b).abs().max()) for a, b in zip(stepped, plain, strict=True))
        expected = likelihood(plain, self.forward.tensor(self.text))
        apart = max(apart, abs(found.logprob - expected.logprob) / len(self.text))
        return apart / max(float(plain.max() - plain.min()), 1e-9)

    def _stepped_by_cuda_graph(self, prompt: PrefilledPrompt) -> list[torch.Tensor] | None:
        """As `_stepped`, by a CUDA graph; None where none can be captured."""
        model = self.forward.model
        devices = {weights.device for weights in model.parameters()}
        if len(devices) > 1 or model.device.type != "cuda":
            return None
        try:
            return self._stepped(prompt, cuda_graph=True)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self.forward.notes.append(
                f"no CUDA graph of a decoding step could be captured, which is slower ({first_line(error)})"
            )
            return None

    def _stepped(
        self, prompt: PrefilledPrompt, *, resizable: bool = False, cuda_graph: bool = False
    ) -> list[torch.Tensor]:
        """Logits of all slots after each token beyond the prompt, which is in every slot."""
        slots = self._filled(prompt, resizable=resizable, cuda_graph=cuda_graph)
        columns = range(len(self.prompt), len(self.ids))
        return [slots.step([self.ids[at]] * self.rows, [at] * self.rows) for at in columns]

    def _filled(self, prompt: PrefilledPrompt, *, resizable: bool = False, cuda_graph: bool = False) -> SlotBatch:
        slots = SlotBatch(self.forward, self.rows, PROBE_COLUMNS, resizable=resizable, cuda_graph=cuda_graph)
        slots.insert(range(self.rows), [prompt] * self.rows)
        return slots

    def _row_counts(self, prompt: PrefilledPrompt, full: torch.Tensor) -> tuple[int, ...]:
        """Numbers of slots that give the logits of a full step, (slots, vocabulary), when they are computed alone."""
        slots, at = self._filled(prompt), len(self.prompt)
        logits = {n: slots.step([self.ids[at]] * n, [at] * n) for n in _ROW_COUNTS if n < self.rows}
        return tuple(n for n, found in logits.items() if bool((found == full[:n]).all()))
