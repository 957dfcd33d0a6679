"""Records and protocols that the parts of the harness share: requests, generators, judges, pairs, arms.

`types` has those that plugins need as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from mipo_bench.harness.checks import Check
from mipo_bench.harness.types import Decoding, Item, Message, Response


@dataclass(frozen=True, slots=True)
class Pair:
    """A preference pair: two responses of the base model. The rejected one was sampled under the prompt `contrast`."""

    item_id: str
    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    contrast: tuple[Message, ...] = ()


AA_TWIN = " (A/A)"
"""The end of the name of an arm that is the A/A twin of another one."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of answering a task: a prompting baseline, on the base model or on a trained checkpoint.

    `recipe` and `train_seed` are None on the base model. `sample_seed` seeds the decoding; `aa_twin` marks the
    second run of an arm under another sampling seed (the A/A noise floor).
    """

    task: str
    baseline: str
    recipe: str | None = None
    train_seed: int | None = None
    sample_seed: int = 0
    aa_twin: bool = False

    @property
    def method(self) -> str:
        """The name of the arm in the report, without seeds."""
        name = self.recipe or self.baseline
        return name + AA_TWIN if self.aa_twin else name


@dataclass(frozen=True, slots=True)
class Request:
    """One rendered prompt to answer. `seed` alone decides its sampling, whatever else is in the batch.

    With a `contrast`, another rendered prompt, each token is chosen by (1 + a) l(prompt) - a l(contrast) of the logits
    l, where a is `contrast_weight` (context-aware decoding, arXiv 2305.14739).
    """

    prompt: str
    seed: int
    decoding: Decoding
    options: tuple[str, ...] = ()
    contrast: str | None = None
    contrast_weight: float = 0.0
    source: str = ""
    """What asks, such as an arm. It changes no answer: the time left is estimated by it."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question to a judge: which of two responses to the item fits its user better.

    If `second` is None, the judge rates `first` alone, or answers the `check` on it. The user's context is
    `item.context`. `rubric` gives the criteria of a good response. `repeat` tells apart questions that are asked
    several times on purpose.
    """

    item: Item
    rubric: str
    first: str
    second: str | None = None
    repeat: int = 0
    check: Check | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's answer.

    `value` is 1 for the first response, 0 for the second and 1/2 for a tie; a rating from 1 to 5 is (rating - 1) / 4;
    yes to a check is 1 and no is 0. It is None if the answer could not be parsed. `text` is the judge's answer, `tries`
    the number of calls.
    """

    value: float | None
    text: str = ""
    tries: int = 1


class Judge(Protocol):
    """Decides which of two responses is better. A verdict depends on its own question alone."""

    @property
    def name(self) -> str:
        """The name of the judge in the report."""
        ...

    @property
    def digest(self) -> str:
        """Identifies everything in it that can change a verdict."""
        ...

    def decide(self, questions: Sequence[Question]) -> Iterator[tuple[int, Verdict]]:
        """Answer the questions: (position, verdict), each as soon as it is known, in any order."""
        ...


@dataclass(frozen=True, slots=True)
class Prompt:
    """A chat rendered for one model: the turns that its chat template accepts, and the text that the template makes.

    If the last turn is the assistant's, it is the beginning of the response.
    """

    messages: tuple[Message, ...]
    text: str


class Chat(NamedTuple):
    """A chat before it is rendered, and the user's context that its prompt must contain, if any."""

    messages: tuple[Message, ...]
    context: str | None


@dataclass(frozen=True, slots=True)
class LikelihoodRequest:
    """A request for the probability of each text as the continuation of one rendered prompt."""

    prompt: str
    texts: tuple[str, ...]

    @property
    def characters(self) -> int:
        """Characters of the prompt and of all texts."""
        return len(self.prompt) + sum(map(len, self.texts))


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The summed log-probability of a continuation in nats, its number of tokens, and whether it is the greedy one."""

    logprob: float
    n_tokens: int
    greedy: bool


class Generator(Protocol):
    """A model that answers requests.

    An answer depends on its own request alone, not on other requests or their order.
    """

    @property
    def digest(self) -> str:
        """Identifies everything in it that can change an answer."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """Remarks on its answers for the report. They are stored with the answers."""
        ...

    @property
    def end_of_turn_token(self) -> str:
        """The token with which the chat template ends a response; empty if unknown."""
        ...

    @property
    def control_tokens(self) -> Sequence[str]:
        """The special tokens of the tokenizer, as text; empty if unknown."""
        ...

    def render(self, messages: Sequence[Message], context: str | None) -> Prompt:
        """The prompt as the model receives it.

        Raises ContextLostError if `context` is given and the result does not contain it.
        """
        ...

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """Answer the requests: (position, response), each as soon as it is finished, in any order."""
        ...

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """The likelihood of each text after its prompt: (position, one for each text), in any order."""
        ...


@runtime_checkable
class RemembersPrompts(Protocol):
    """A generator that keeps rendered prompts, so that a chat which was rendered once needs no tokenizer again."""

    def render_all(self, chats: Sequence[Chat]) -> Sequence[Prompt | None]:
        """The prompts of the chats, which are kept together; None for one that `render` refuses."""
        ...
