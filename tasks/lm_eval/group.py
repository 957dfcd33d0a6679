"""A group of lm-eval as one task: the items of all its parts, with the weights that lm-eval gives them.

The part is the cluster of its items (`user_id`). Where lm-eval weights parts by their size, all items count alike;
where it does not, all parts do. The score is the first metric of the group's `aggregate_metric_list` that all of its
parts have. A group without such a list has no figure in lm-eval, and none here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.errors import PluginError
from mipo_bench.harness.types import Item, Response, Score, Split
from mipo_bench.tasks.lm_eval.task import LMEvalTask

_PART = "/"
"""Between the name of a part and the id of its item."""


class LMEvalGroup:
    """Several tasks of lm-eval as one. `parts` have the order of lm-eval."""

    reasoning = False

    def __init__(self, group: Any, parts: Mapping[str, LMEvalTask], shots: int | None = None) -> None:
        """Raises PluginError if the parts are not scored or decoded alike."""
        self._parts = dict(parts)
        self.name = f"lm-eval:{group.name}" + ("" if shots is None else f"-{shots}shot")
        first = next(iter(self._parts.values()))
        weighted = self._choose_metric(group.aggregate_metric_list)
        self.average: Literal["micro", "macro"] = "micro" if weighted else "macro"
        self.suite, self.decoding, self.repeats = first.suite, first.decoding, first.repeats
        self.max_new_tokens = first.max_new_tokens
        self.reference = "few-shot" if any(p.reference == "few-shot" for p in self._parts.values()) else "plain"
        self.binary = all(part.binary for part in self._parts.values())
        self.version = sum(part.version for part in self._parts.values())
        alike = "items" if weighted else "parts"
        count = f"{len(self._parts)} tasks, all {alike} count alike"
        self.description = f"lm-eval group {group.name} of {count}; {first.metrics.description}"
        self.definition = digest([self.average, *(text for n, p in self._parts.items() for text in (n, p.definition))])
        self._check_alike(first)

    def _choose_metric(self, aggregated: Sequence[Any]) -> bool:
        """Choose the metric of all parts; whether lm-eval weights them by size. Raises PluginError."""
        lacking: dict[str, list[str]] = {}
        for entry in aggregated:
            filters = entry.filter_list or [None]
            lacking[entry.metric] = [
                name for name, part in self._parts.items() if not any(part.score_by(entry.metric, f) for f in filters)
            ]
            if not lacking[entry.metric]:
                return bool(entry.weight_by_size)
        reasons = "; ".join(f"{metric} in {', '.join(parts[:5])}" for metric, parts in lacking.items())
        raise PluginError(f"{self.name}: no metric of the group can be scored in all of its parts. Missing: {reasons}.")

    def _check_alike(self, first: LMEvalTask) -> None:
        """Raise PluginError for a part that is decoded unlike the first."""
        for name, part in self._parts.items():
            if (part.decoding, part.repeats) != (first.decoding, first.repeats):
                raise PluginError(
                    f"{self.name}: its part {name} is decoded unlike the first ({part.decoding}, not {first.decoding})."
                    " Give its tasks one by one."
                )

    def items(self, split: Split) -> Sequence[Item]:
        """The items of all parts. Items for training have no user: they come from the parts of the evaluation."""
        return self._items[split]

    @cached_property
    def _items(self) -> dict[Split, tuple[Item, ...]]:
        splits: dict[Split, bool] = {"eval": True, "train": False}
        return {
            split: tuple(
                replace(item, id=f"{name}{_PART}{item.id}", user_id=name if clustered else None)
                for name, part in self._parts.items()
                for item in part.items(split)
            )
            for split, clustered in splits.items()
        }

    def score(self, item: Item, response: Response) -> Score:
        """The score of the item's part."""
        part, own = self._own(item)
        return part.score(own, response)

    def filtered(self, item: Item, response: Response) -> Mapping[str, str]:
        """See `LMEvalTask.filtered`."""
        part, own = self._own(item)
        return part.filtered(own, response)

    def gold(self, item: Item) -> str:
        """The target."""
        return item.target

    def wrong(self, item: Item) -> str:
        """See `LMEvalTask.wrong`."""
        part, own = self._own(item)
        return part.wrong(own)

    def _own(self, item: Item) -> tuple[LMEvalTask, Item]:
        """The part of an item, and the item as the part has it."""
        name, _, number = item.id.rpartition(_PART)
        return self._parts[name], replace(item, id=number, user_id=None)
