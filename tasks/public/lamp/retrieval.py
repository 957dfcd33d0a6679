"""Chooses the past items of a user that a prompt shows: the nearest by BM25, or the latest."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Sequence

from mipo_bench.harness.errors import DataError
from mipo_bench.tasks.public.lamp.files import Past


def nearest(past: Sequence[Past], fields: Sequence[str], query: str, k: int) -> list[Past]:
    """The `k` items whose `fields` have the highest BM25 score for the query, the best first.

    BM25 as in Lucene (k1 1.5, b 0.75; Kamphuis et al. 2020) on the words of these items, without English stop words;
    items of one score stay in their order.
    """
    if len(past) == 1:
        return list(past)
    import bm25s

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it announces every index
    texts = [" ".join(item.values[field] for field in fields) for item in past]
    words, asked = (
        bm25s.tokenize(texts_or_query, stopwords="en", return_ids=False, show_progress=False)
        for texts_or_query in (texts, [query])
    )
    if not any(words):
        return list(past[:k])
    index = bm25s.BM25()
    index.index(words, show_progress=False)
    known = [word for word in asked[0] if word in index.vocab_dict]
    scores = index.get_scores(known) if known else [0.0] * len(past)
    best = sorted(range(len(past)), key=lambda n: (-float(scores[n]), n))
    return [past[n] for n in best[:k]]


def latest(past: Sequence[Past], k: int) -> list[Past]:
    """The `k` items of the latest dates, the latest first. Raises DataError for an item without a readable date."""
    return sorted(past, key=_date, reverse=True)[:k]


def _date(item: Past) -> datetime.date:
    if item.date is None:
        raise DataError(
            f"{item.where}: no field 'date', by which by=recency orders the past. The files of the user-based split"
            " have none: leave the option by=recency out, or give files with dates."
        )
    try:
        return datetime.date(*map(int, item.date.split("T")[0].split("-")))
    except (TypeError, ValueError) as error:
        raise DataError(f"{item.where}: the field 'date' is {item.date!r}, not a date such as 2015-03-31.") from error
