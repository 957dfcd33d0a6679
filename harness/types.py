"""Records and protocols that plugins and every part of the harness share: items, responses, scores, tasks, recipes.

The module imports nothing but the standard library.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, runtime_checkable

Role = Literal["system", "user", "assistant"]
Split = Literal["train", "eval"]
Suite = Literal["personalized", "math", "choice"]
Objective = Literal["dpo", "sft", "sami", "infonce", "grpo"]
OBJECTIVES: tuple[Objective, ...] = ("dpo", "sft", "sami", "infonce", "grpo")
Similarity = Literal["random", "near", "far"]
FinishReason = Literal["stop", "length", "unknown", "overflow", "failed", "refused"]
ContrastUse = Literal["decoding", "reranking", "options"]
CONTRAST_USES: tuple[ContrastUse, ...] = ("decoding", "reranking", "options")
Way = Literal["mark", "phrase", "alone", "name", "last number", "none"]
WAYS: tuple[Way, ...] = ("mark", "phrase", "alone", "name", "last number", "none")
"""How an answer was found: behind a mark such as "Answer:", behind a phrase such as "the answer is", as a letter that
stands alone, by the name of an option, as the last number, or not at all."""
SUITES: tuple[Suite, ...] = ("personalized", "math", "choice")
ModelKind = Literal["any", "embedded", "real"]
MODEL_KINDS: tuple[ModelKind, ...] = ("any", "embedded", "real")
"""The models that a task is meant for: any, the embedded one, or any but the embedded one."""
DataState = Literal["ok", "warn", "missing", "fail"]
"""Whether a run would find a task's data: it is here, it would be downloaded, it cannot be had, or it is malformed."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Demonstration:
    """An earlier request with its response, shown to the model as a demonstration."""

    prompt: str
    response: str


@dataclass(frozen=True, slots=True)
class Continuation:
    """A text whose log-probability an item asks for.

    It continues the item's chat, with `prompt` as its last turn unless that is None; empty, there is no chat at all.
    """

    text: str
    prompt: str | None = None


Turn = Demonstration
"""Earlier name of `Demonstration`, for plugins; the next release removes it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt of a task.

    `id` is unique in the task and stable across processes and versions. `context` describes the user
    (`user_id`); None for tasks without users. `options` are the answers of a multiple-choice item,
    in the order shown. `demonstrations` come from the training split or from the same user's past. `system` is the
    task's own system turn, `prefix` the beginning of the response; both are part of every prompt of the item. An item
    with `continuations` is answered by their log-probabilities in place of those of its options.
    """

    id: str
    prompt: str
    target: str
    user_id: str | None = None
    context: str | None = None
    options: tuple[str, ...] = ()
    demonstrations: tuple[Demonstration, ...] = ()
    system: str | None = None
    prefix: str = ""
    continuations: tuple[Continuation, ...] = ()

    def asked_by(self, other: Item) -> Item:
        """The same item as the user of another item would ask it: with that user's id, context and demonstrations."""
        return replace(self, context=other.context, user_id=other.user_id, demonstrations=other.demonstrations)


@dataclass(frozen=True, slots=True)
class Response:
    """A model's response to one rendered prompt.

    `n_prompt` and `n_tokens` count tokens. `finish` is the finish reason: `stop` (the model ended its turn),
    `length` (the token limit cut it), `unknown` (one of these two: the program that answered does not say which),
    `overflow` (the prompt fills the model's window: nothing was generated), `failed` (no answer came) or `refused` (a
    server rejected this request); with the last two, `text` gives the cause.
    `option_logprobs` holds, for a multiple-choice item, the summed log-probability in nats of each option as the
    continuation of the prompt, or that of each of its `continuations`; `greedy` says of each whether the model would
    generate it at temperature 0. `samples` are all texts of an item that is asked several times; `text` is the first.
    """

    text: str
    n_prompt: int
    n_tokens: int
    finish: FinishReason
    option_logprobs: tuple[float, ...] | None = None
    greedy: tuple[bool, ...] | None = None
    samples: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether there is no answer. It is not stored, and the next run sends the request again."""
        return self.finish in ("failed", "refused")

    @property
    def generated(self) -> bool:
        """Whether the model generated this text: its prompt fit into the window, and an answer came."""
        return self.finish in ("stop", "length", "unknown")


@dataclass(frozen=True, slots=True)
class Reading:
    """How the answer of a response was found.

    `value` is a number in plain digits or the letter of an option, None if no answer was found. `way` is the kind of
    evidence, which the report counts; `rule` is the title of the rule in `docs/answers.md`. `invented_turn` says that
    the model went on with a next question of its own, which was left out.
    """

    value: str | None
    way: Way
    rule: str
    invented_turn: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one response, in [0, 1]; `parts` are further figures in [0, 1] that the report shows beside it.

    A part that does not apply to an item is left out of its `parts`: the report shows the mean over the other items.

    `parsed` is False if no answer could be parsed from the response; the score is then 0. `reading` says how the answer
    was found, for tasks that read one.
    """

    value: float
    parts: Mapping[str, float] = field(default_factory=dict)
    parsed: bool = True
    reading: Reading | None = None


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a response is sampled. `temperature` 0 is greedy.

    With `max_new_tokens` 0 nothing is generated; only the options' log-probabilities are computed. A response ends
    before the first of the `stop` strings. `verbatim` keeps the white space around it, which is stripped otherwise.
    """

    max_new_tokens: int
    temperature: float
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    verbatim: bool = False


@runtime_checkable
class Task(Protocol):
    """A task plugin: items, and a scorer that needs no model.

    `binary` says that every score is 0 or 1. `reference` names the prompting baseline that trained recipes are
    prompted with and compared against. `reasoning` allows chain of thought. `version` changes whenever an item
    or a score can change.

    Optional attributes: `licence` and `source` of its data (str), which `list --verbose` shows; `default` (bool), False
    for a task that runs only when named, not with its suite; `meant_for` (one of MODEL_KINDS, default `any`), the
    models whose suites have the task; `uses_data` (bool), True if the task reads data that do not come with it. Such a
    task has the method `with_data(folder)`, which returns the task on local files. It may have `data_used()`, figures
    and texts by name about the data that it has read, for the report, and `data_state()`, for `doctor`: a DataState,
    and a sentence. `with_options(text)` returns the task with the options of `--task NAME:OPTION=VALUE:...`, under that
    name. `corpus_parts(items, scores)` gives figures of all scores together, such as F1: name -> one value for each
    item, whose mean is the figure; the report shows them beside the parts.
    """

    name: str
    suite: Suite
    version: int
    description: str
    binary: bool
    reasoning: bool
    reference: str
    max_new_tokens: int

    def items(self, split: Split) -> Sequence[Item]:
        """All items of the split, in a fixed order."""

    def score(self, item: Item, response: Response) -> Score:
        """Score one response. Never raises on any text."""

    def gold(self, item: Item) -> str:
        """A response that scores 1."""

    def wrong(self, item: Item) -> str:
        """A response that scores 0."""


@runtime_checkable
class JudgedTask(Task, Protocol):
    """A task whose responses only a judge can score.

    The judge's verdict is the score; `score` returns rule checks, whose `parts` the report shows beside it. `gold` and
    `wrong` are a response that this user preferred and one that they rejected, the labels for checking a judge. The
    optional attribute `rules_decide` = True lets `score` decide if no other judge is named.
    """

    def rubric(self, item: Item) -> str:
        """The criteria of a good response for this user, as text for the judge."""


@runtime_checkable
class ExternalTask(Task, Protocol):
    """A task that another harness defines. Its own `decoding` takes precedence over the run's decoding settings.

    `definition` is the part of its definition that scores depend on, as text. The optional method
    `filtered(item, response)` gives the text that each of its filters reads from a response, by the filter's name.
    Optional attributes: `repeats` (int), how often each item is asked, default 1; `average`, for a group of tasks whose
    items name their part as `user_id`: `micro` where its items count alike, `macro` where its parts do.
    """

    decoding: Decoding
    definition: str


@runtime_checkable
class Baseline(Protocol):
    """A prompting baseline: turns an item into messages. The last message is the user's.

    `uses_context` says that every prompt must contain the item's context word for word; the harness checks that. The
    optional attribute `default` (bool) is False for a baseline that runs only when named.
    """

    name: str
    description: str
    uses_context: bool

    def applies(self, task: Task, item: Item) -> bool:
        """Whether this way of prompting makes sense for the task; `item` is an example of its items."""

    def messages(self, item: Item) -> tuple[Message, ...]:
        """The chat that is sent to the model."""


@runtime_checkable
class SteppedBaseline(Baseline, Protocol):
    """A prompting baseline of `steps` prompts in turn, the first by `messages`; the last response is scored.

    The optional attribute `context_steps` (int) is the number of prompts, from the first, that contain the context.
    """

    steps: int

    def follow_up(self, item: Item, earlier: Sequence[str]) -> tuple[Message, ...]:
        """The chat of the next step, given the responses of the earlier steps."""


@runtime_checkable
class ContrastedBaseline(Baseline, Protocol):
    """A prompting baseline that compares probabilities under its prompt with those under a contrast prompt.

    `contrast_use` names the unit: `decoding` compares each token (context-aware decoding), `reranking` whole samples,
    and `options` the options of a multiple-choice item.
    """

    contrast_use: ContrastUse

    def contrast(self, item: Item) -> tuple[Message, ...]:
        """The chat of the contrast prompt, such as the one without the user's context."""


@runtime_checkable
class Recipe(Protocol):
    """A training recipe: chooses the prompt under which the rejected response is sampled.

    Optional attributes: `objective`, the loss (one of OBJECTIVES; default `dpo`); `default` (bool), False to run only
    when named; `is_trained_baseline` (bool), True for a baseline that other recipes are compared with;
    `shares_pairs_of`, the name of the recipe whose random draws it repeats, to train on the same pairs; `reward`, for
    `grpo`: `score` or `judge`; the method `several_contrasts(items, rng, negatives, similarity)` for each item.
    """

    name: str
    description: str

    def applies(self, task: Task, item: Item) -> bool:
        """Whether the recipe makes sense for the task; `item` is an example of its items."""

    def contrasts(self, items: Sequence[Item], rng: random.Random) -> list[Item]:
        """For each item, the item under whose prompt its rejected response is sampled."""
