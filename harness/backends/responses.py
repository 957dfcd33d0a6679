"""The backend of a responses file: answers that were made elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mipo_bench.harness.backends.base import TrainedCheckpoint
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.planning.from_responses import ExternalResponses
from mipo_bench.harness.protocols import Arm, Generator, Likelihood, LikelihoodRequest, Prompt, Request
from mipo_bench.harness.training.pairs import PairSet, PromptSet
from mipo_bench.harness.types import Message, Response


class ResponsesFileGenerator:
    """Answers with what the file has under the request's prompt, which is the `key` of arm and item."""

    notes: Sequence[str] = ()
    end_of_turn_token = ""
    control_tokens: Sequence[str] = ()

    def __init__(self, given: ExternalResponses) -> None:
        """Its digest is the file's: other responses are another model."""
        self.external = given
        self.digest = given.digest

    def render(self, messages: Sequence[Message], context: str | None) -> Prompt:  # noqa: ARG002 - no model, no template
        """The chat as it is."""
        return Prompt(tuple(messages), "\n".join(m.content for m in messages))

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generator`."""
        missing = Response("the file has no response", 0, 0, "failed")
        for position, request in enumerate(requests):
            yield position, self.external.responses.get(request.prompt, missing)

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """Nothing can be asked of a file. Raises ModelError."""
        raise ModelError(f"{len(asked)} likelihoods are wanted of a file of responses; give a model.")


class ResponsesFileBackend:
    """Stands where a model would. It trains nothing."""

    name = "responses"
    device = "none"
    dtype = "none"

    def __init__(self, given: ExternalResponses) -> None:
        """Remember the responses."""
        self.model_digest = given.digest
        self._generator = ResponsesFileGenerator(given)
        counted = [] if given.counted else ["lengths are counted in words where the file gives no n_tokens"]
        self.notes = [*counted, "the responses were produced elsewhere: prompts and decoding are not known"]

    @property
    def base(self) -> Generator:
        """The file as a generator."""
        return self._generator

    def trained(self, arm: Arm, data: PairSet | PromptSet, on_step: Callable[[int, int], None]) -> TrainedCheckpoint:  # noqa: ARG002
        """Raise ModelError: a file cannot be trained."""
        raise ModelError(f"{arm.recipe}: a file of responses cannot be trained; give a model.")

    def unload(self) -> None:
        """Nothing is loaded here."""
