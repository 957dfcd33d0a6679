"""The backend of a responses file: answers that were made elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mipo_bench.harness.backends.base import Trained
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.planning.from_responses import Given
from mipo_bench.harness.protocols import Arm, Continuations, Generator, Likelihood, Prompt, Request
from mipo_bench.harness.training.pairs import PairSet, PromptSet
from mipo_bench.harness.types import Message, Response


class GivenGenerator:
    """Answers with what the file has under the request's prompt, which is the `key` of arm and item."""

    notes: Sequence[str] = ()
    end_of_turn_token = ""
    control_tokens: Sequence[str] = ()

    def __init__(self, given: Given) -> None:
        """Its digest is the file's: other responses are another model."""
        self.given = given
        self.digest = given.digest

    def render(self, messages: Sequence[Message], context: str | None) -> Prompt:  # noqa: ARG002 - no model, no template
        """The chat as it is."""
        return Prompt(tuple(messages), "\n".join(m.content for m in messages))

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generator`."""
        missing = Response("the file has no response", 0, 0, "failed")
        for position, request in enumerate(requests):
            yield position, self.given.responses.get(request.prompt, missing)

    def likelihoods(self, asked: Sequence[Continuations]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """Nothing can be asked of a file. Raises ModelError."""
        raise ModelError(f"{len(asked)} likelihoods are wanted of a file of responses; give a model.")


class GivenEngine:
    """Stands where a model would. It trains nothing."""

    backend = "responses"
    device = "none"
    dtype = "none"

    def __init__(self, given: Given) -> None:
        """Remember the responses."""
        self.model_digest = given.digest
        self._generator = GivenGenerator(given)
        counted = [] if given.counted else ["lengths are counted in words where the file gives no n_tokens"]
        self.notes = [*counted, "the responses were produced elsewhere: prompts and decoding are not known"]

    @property
    def base(self) -> Generator:
        """The file as a generator."""
        return self._generator

    def trained(self, arm: Arm, data: PairSet | PromptSet, on_step: Callable[[int, int], None]) -> Trained:  # noqa: ARG002
        """Raise ModelError: a file cannot be trained."""
        raise ModelError(f"{arm.recipe}: a file of responses cannot be trained; give a model.")

    def unload(self) -> None:
        """Nothing is loaded here."""
