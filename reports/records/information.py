"""Records of mutual information between responses and user contexts or prompts (`harness.diagnostics.information`)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mipo_bench.reports.records.base import CaveatRecord, Number, Record

Weights = Literal["base", "own"]
"""The model that scores a response: the base model, or the model that generated it."""


class MeasuredRecord(Record):
    """The responses of one arm under one model.

    `pmi[k][i]`, in nats, is the pointwise mutual information of the response to item i of the block against the first
    `contexts[k]` other contexts.
    """

    method: str
    train_seed: int | None
    weights: Weights
    pmi: list[list[Number]]


class InformationEstimateRecord(Record):
    """The mutual information of a method's responses, in nats, over items and training seeds.

    `mean` is the mean pointwise value against `contexts` other contexts: an upper bound of the mutual information if
    responses are sampled from the unchanged model distribution. `nce` is the InfoNCE estimate from the same values, a
    lower bound that cannot exceed `ceiling` = log(contexts + 1). `nce_low` and `nce_high` are the ends of its interval;
    no page shows them.
    """

    method: str
    weights: Weights
    contexts: int
    mean: Number
    ci_low: Number | None
    ci_high: Number | None
    nce: Number
    nce_low: Number | None
    nce_high: Number | None
    ceiling: Number
    n_items: int
    n_clusters: int
    n_seeds: int
    warnings: list[CaveatRecord] = Field(default=[])


class InformationChangeRecord(Record):
    """Trained minus reference on the same items, against the largest number of contexts.

    `delta` compares each arm under its own weights. `text_delta` compares both under the base model: the part of the
    change that lies in the responses and not in the model that scores them. `score_delta` is the change of the task
    score on these items. `rank_correlation` is Spearman's rho over items between the changes of information and score.
    """

    method: str
    contexts: int
    delta: Number
    ci_low: Number | None
    ci_high: Number | None
    text_delta: Number
    text_low: Number | None
    text_high: Number | None
    score_delta: Number
    score_low: Number | None
    score_high: Number | None
    rank_correlation: Number | None
    n_items: int
    n_clusters: int
    n_seeds: int
    warnings: list[CaveatRecord] = Field(default=[])


class InformationRecord(Record):
    """Mutual information on one task, between response and user context (`over` contexts) or prompt (`over` prompts).

    `reference` is the arm before training. `temperature` is None if the evaluated responses themselves were measured;
    else it is the temperature of responses sampled for the purpose. `end` says whether the end-of-response token is
    scored. `left_out` counts items for which some arm has no response.
    """

    task: str
    over: Literal["contexts", "prompts"]
    reference: str
    contexts: Annotated[list[int], Field(min_length=1)]
    items: list[str]
    left_out: int
    temperature: Number | None
    end: bool
    measured: list[MeasuredRecord]
    estimates: list[InformationEstimateRecord]
    changes: list[InformationChangeRecord]

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Raise ValueError unless estimates and measured values are for each number of contexts, and each item."""
        found: dict[tuple[str, str], list[int]] = {}
        for estimate in self.estimates:
            found.setdefault((estimate.method, estimate.weights), []).append(estimate.contexts)
        for (method, weights), contexts in found.items():
            if contexts != self.contexts:
                raise ValueError(
                    f"the estimates of {method!r} ({weights}) are for {contexts} contexts, not {self.contexts}"
                )
        for arm in self.measured:
            if [len(row) for row in arm.pmi] != [len(self.items)] * len(self.contexts):
                raise ValueError(
                    f"the measured values of {arm.method!r} are not one for each item and number of contexts"
                )
        return self
