"""Records of the judges and of the shuffled-profile control, and the file of `check-judge`. Added with schema 1.2."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mipo_bench.reports.records.base import CaveatRecord, Number, Record, UnitScore

Protocol = Literal["pairwise", "pointwise", "checks"]


class ValidationRecord(Record):
    """Agreement of a judge with labelled data (`mipo-bench check-judge`), from the average of both orders.

    `labels` names the data, `kappa` is Cohen's kappa between label and verdict, `accuracy` counts a tie as one half.
    """

    labels: str
    n_items: int
    n_clusters: int
    kappa: Number | None
    kappa_low: Number | None
    kappa_high: Number | None
    accuracy: UnitScore
    accuracy_low: Number | None
    accuracy_high: Number | None


class ValidationFile(Record):
    """The file that `mipo-bench check-judge` writes. `digest` is the judge's: a run with another judge refuses it."""

    format: Literal["mipo-bench judge validation 1"]
    name: str
    digest: str
    protocol: Protocol
    created: str
    validation: ValidationRecord


class ConsistencyRecord(Record):
    """Consistency of a judge, which needs no labels. Counts and shares are over verdicts of the judge, not of rules.

    `consistent` is the share of items with the same winner in both orders, `first_share` the share of verdicts other
    than ties that chose the response shown first. `first_p` is the exact binomial p-value of the items whose verdicts
    lean to one place (leaning to the first against leaning to the second); an item with the same winner in both orders
    leans to neither. `kappa` is Cohen's kappa between the orders. `retest_agreement` is the share of repeated questions
    with the same verdict.
    """

    n_items: int
    n_clusters: int
    consistent: UnitScore | None
    first_share: UnitScore | None
    first_p: UnitScore | None
    kappa: Number | None
    kappa_low: Number | None
    kappa_high: Number | None
    n_retest: int
    retest_agreement: UnitScore | None


class AgreementRecord(Record):
    """Agreement of a judge with another one, over the items of all arms that both were asked about. Added with 2.4.

    `same` is the share of items with the same winner, or a tie of both; `kappa` is Cohen's kappa.
    """

    judge: str
    n_items: int
    n_clusters: int
    same: UnitScore | None
    kappa: Number | None
    kappa_low: Number | None
    kappa_high: Number | None


class JudgedArmRecord(Record):
    """A judged method, all its training seeds together, against the reference.

    `wins`, `ties` and `losses` count items and training seeds with a score above, at and below 1/2, `reversals` those
    won in one order of presentation and lost in the other (0 if responses are rated one by one). `strict` is the win
    rate with every item tied on which the orders disagree. Lengths are in tokens. `length_controlled` is the win rate
    at equal lengths; `length_slope` is the coefficient of the length difference behind it, in logits, which no page
    shows. `undecided` counts unreadable verdicts; if there are no others, a warning `untestable` says so, and the
    figures are those of ties.
    """

    method: str
    win_rate: UnitScore
    wins: int | None = None
    ties: int | None = None
    losses: int | None = None
    reversals: int | None = None
    strict: UnitScore
    mean_tokens: Number
    reference_tokens: Number
    length_controlled: UnitScore | None
    length_low: Number | None
    length_high: Number | None
    length_slope: Number | None
    undecided: int
    warnings: list[CaveatRecord] = Field(default=[])


class JudgeRecord(Record):
    """The judge of one task: its name, its settings, and figures about its verdicts.

    `kind` is the source of the verdicts: the task's own `rules`, a `model`, a `server`, a `file` of verdicts or, since
    schema 2.4, an entailment model (`nli`). `calls` counts the questions to the judge without retries and `n_retest`;
    `settled` counts the questions that a rule decided (identical or empty responses). `retries` counts the questions
    asked again after an answer without a verdict; no page shows it. `unread` verdicts count as ties.
    """

    task: str
    name: str
    kind: Literal["rules", "model", "server", "file", "nli"]
    digest: str
    protocol: Protocol
    temperature: Number | None
    top_p: Number | None
    calls: int
    settled: int
    retries: int
    unread: int
    consistency: ConsistencyRecord | None
    validation: ValidationRecord | None
    arms: list[JudgedArmRecord]
    agreements: list[AgreementRecord] = Field(default=[])
    """With the judges of the task before this one."""
    warnings: list[CaveatRecord] = Field(default=[])


class ControlRecord(Record):
    """The shuffled-profile control of one method.

    `gain` and `shuffled_gain` are its gains over the reference with the user's own profile and with another user's;
    `difference` is `gain` - `shuffled_gain`, tested. `p_adjusted` is Benjamini-Hochberg's over all controls.
    """

    task: str
    base: str
    method: str
    gain: Number
    shuffled_gain: Number
    difference: Number
    ci_low: Number | None
    ci_high: Number | None
    p_value: Number | None
    p_adjusted: Number | None
    mde: Number | None
    n_items: int
    n_clusters: int
    n_seeds: int
    warnings: list[CaveatRecord] = Field(default=[])
