"""The backend of a responses file: another program has generated the responses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mipo_bench.harness.backends.base import TrainedCheckpoint
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.exchange.from_responses import ExternalResponses
from mipo_bench.harness.protocols import Arm, Generator, Likelihood, LikelihoodRequest, Prompt, Request
from mipo_bench.harness.training.pairs import PairSet, PromptSet
from mipo_bench.harness.types import Message, Response


class ResponsesFileGenerator:
    """Looks up the response of a request in the file. The request's prompt is the `response_id` of arm and item."""

    notes: Sequence[str] = ()
    end_of_turn_token = ""
    control_tokens: Sequence[str] = ()

    def __init__(self, given: ExternalResponses) -> None:
        """The digest is that of the responses: a file with others counts as another model."""
        self.external = given
        self.digest = given.digest

    def render(self, messages: Sequence[Message], context: str | None) -> Prompt:  # noqa: ARG002 - no model, no template
        """The contents of the messages, without a chat template."""
        return Prompt(tuple(messages), "\n".join(m.content for m in messages))

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generator`."""
        missing = Response("the file has no response", 0, 0, "failed")
        for position, request in enumerate(requests):
            yield position, self.external.responses.get(request.prompt, missing)

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """Raise ModelError, because a file gives no log-probabilities."""
        raise ModelError(f"a file of responses gives no log-probabilities, and {len(asked)} are needed; give a model.")


class ResponsesFileBackend:
    """The responses of a file instead of a model. It cannot be trained."""

    name = "responses"
    device = "none"
    dtype = "none"

    def __init__(self, given: ExternalResponses) -> None:
        """`given` holds the responses of the file."""
        self.model_digest = given.digest
        self._generator = ResponsesFileGenerator(given)
        counted = [] if given.counted else ["lengths are in words for responses without n_tokens in the file"]
        self.notes = [
            *given.notes,
            *counted,
            "another program generated the responses: their prompts and decoding are unknown",
        ]

    @property
    def base(self) -> Generator:
        """The file as a generator."""
        return self._generator

    def trained(self, arm: Arm, data: PairSet | PromptSet, on_step: Callable[[int, int], None]) -> TrainedCheckpoint:  # noqa: ARG002
        """Raise ModelError, because a file cannot be trained."""
        raise ModelError(f"{arm.recipe}: a file of responses cannot be trained; give a model.")

    def unload(self) -> None:
        """Do nothing, because no model is loaded."""
