"""Reads which label a response to a classification of LaMP gives, and counts macro F1, MAE and RMSE over all items.

A figure of all items has no score of a single item. `linear_*` give each item a value whose mean over the items is
exactly the figure, and whose spread is that of the delta method: figure + derivative of the figure by the item's share.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mipo_bench.harness.types import Reading

NO_LABEL = Reading(None, "none", "Labels")


def read_label(text: str, labels: Sequence[str]) -> Reading:
    """The only label that the response names.

    It is the whole response but for quotes and punctuation, or else the only label in it. A label inside a longer one
    ("comedy" in "dark comedy") does not count. A label in brackets may stand without them where it stands alone.
    """
    alone = text.strip().strip("\"'*`. \n").casefold()
    for label in labels:
        if alone in (label.casefold(), label.casefold().strip("[]")):
            return Reading(label, "alone", "Labels")
    by_name = {label.casefold(): label for label in labels}
    longest = sorted(by_name, key=len, reverse=True)
    pattern = "|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in longest)
    named = set(re.findall(pattern, text.casefold()))
    return Reading(by_name[named.pop()], "name", "Labels") if len(named) == 1 else NO_LABEL


def read_stars(text: str) -> Reading:
    """The only whole number from 1 to 5 in the response; "4 out of 5", "4/5" and "4.0" are 4."""
    plain = re.sub(r"\s*(?:/|out of)\s*5(?:\.0+)?\b", "", text.casefold())
    found = re.findall(r"(?<![\d.])[1-5](?:\.0+)?(?![\d]|\.\d)", plain)
    stars = {value[0] for value in found}
    if len(stars) != 1:
        return NO_LABEL
    return Reading(stars.pop(), "alone" if plain.strip(" .*\n") in found else "name", "Labels")


def linear_macro_f1(targets: Sequence[str], given: Sequence[str | None], labels: Sequence[str]) -> list[float]:
    """One value per item; their mean is F1 averaged over the labels, 0 for a label that nobody gives or wants."""
    values = np.zeros(len(targets))
    for label in labels:
        wanted, said = (np.array([one == label for one in ones], float) for ones in (targets, given))
        if total := float(wanted.sum() + said.sum()):
            both = 2 * wanted * said
            f1 = both.sum() / total
            values += f1 + len(values) * (both - f1 * (wanted + said)) / total
    return [float(value) for value in values / len(labels)]


def linear_rmse(errors: Sequence[float]) -> list[float]:
    """One value per item; their mean is the root of the mean squared error."""
    squared = np.square(np.array(errors, float))
    rmse = float(np.sqrt(squared.mean()))
    return [float(value) for value in (rmse + (squared - rmse**2) / (2 * rmse) if rmse else squared)]
