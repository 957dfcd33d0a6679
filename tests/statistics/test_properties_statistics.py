"""Statistics do not depend on the order of rows, on names, or (except for the sign) on the choice of the base."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipo_bench.reports.statistics.compare import compare, summarize
from mipo_bench.reports.stats import Comparison, Scores, Weight, benjamini_hochberg, holm, win_rate

FIGURES = ("delta", "base_mean", "method_mean", "ci_low", "ci_high", "p_value", "se", "df", "effect_size", "p_better")
ROUNDING = 1e-9
P_VALUES = st.lists(st.none() | st.floats(0, 1), max_size=8)
few = settings(max_examples=40)


@dataclass(frozen=True)
class Data:
    """Two arms on the same items: scores are (seeds, items), with one row for untrained arms."""

    base: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    method: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    users: Sequence[int]

    def arms(
        self,
        item: Callable[[int], str] = "item-{:02d}".format,
        user: Callable[[int], str] = "user-{:02d}".format,
        seed: Callable[[int], int] = int,
    ) -> tuple[Scores, Scores]:
        """Both arms as long tables with these names."""
        return tuple(self._arm(values, item, user, seed) for values in (self.base, self.method))  # type: ignore[return-value]

    def _arm(
        self,
        values: np.ndarray[tuple[int, int], np.dtype[np.float64]],
        item: Callable[[int], str],
        user: Callable[[int], str],
        seed: Callable[[int], int],
    ) -> Scores:
        seeds, items = values.shape
        rows = [(s, i) for s in range(seeds) for i in range(items)]
        return Scores.from_columns(
            [item(i) for _, i in rows],
            [float(values[row]) for row in rows],
            [user(self.users[i]) for _, i in rows],
            [seed(s) for s, _ in rows] if seeds > 1 else None,
        )


@st.composite
def data(draw: st.DrawFn) -> Data:
    """Data with at most 14 clusters, so that the sign-flip test enumerates; scores are quarters, or 0 and 1."""
    seeds, items = draw(st.sampled_from([1, 1, 3])), draw(st.integers(2, 14))
    score = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0] if draw(st.booleans()) else [0.0, 1.0])
    arm = st.lists(score, min_size=seeds * items, max_size=seeds * items).map(
        lambda values: np.array(values).reshape(seeds, items)
    )
    users = draw(st.lists(st.integers(0, 9), min_size=items, max_size=items))
    return Data(draw(arm), draw(arm), list(range(items)) if draw(st.booleans()) else users)


WEIGHTS = st.sampled_from(["micro", "macro"])


def same(one: Comparison, other: Comparison) -> None:
    for name in FIGURES:
        first, second = getattr(one, name), getattr(other, name)
        assert (first is None) == (second is None), name
        assert first is None or first == pytest.approx(second, rel=ROUNDING, abs=ROUNDING), name
    assert (one.test, one.only_base, one.only_method) == (other.test, other.only_base, other.only_method)
    assert [w.code for w in one.warnings] == [w.code for w in other.warnings]


def shuffled(scores: Scores, order: Sequence[int]) -> Scores:
    columns = (scores.item, scores.value, scores.cluster, scores.seed)
    return Scores(*(None if column is None else column[list(order)] for column in columns))  # type: ignore[arg-type]


@few
@given(found=data(), weight=WEIGHTS, draw=st.data())
def test_the_order_of_rows_changes_nothing(found: Data, weight: Weight, draw: st.DataObject) -> None:
    base, method = found.arms()
    orders = [draw.draw(st.permutations(range(len(base.item)))) for _ in range(2)]
    again = compare(shuffled(base, orders[0]), shuffled(method, orders[1]), weight=weight)
    assert again == compare(base, method, weight=weight)
    assert summarize(shuffled(base, orders[0]), weight=weight) == summarize(base, weight=weight)


@few
@given(found=data(), weight=WEIGHTS, draw=st.data())
def test_the_names_of_items_users_and_seeds_change_nothing(found: Data, weight: Weight, draw: st.DataObject) -> None:
    items, users, seeds = (draw.draw(st.permutations(range(n))) for n in (found.base.shape[1], 10, 3))
    renamed = found.arms(lambda i: f"x{items[i]:02d}", lambda u: f"y{users[u]}", lambda s: 7 * seeds[s])
    same(compare(*renamed, weight=weight), compare(*found.arms(), weight=weight))


@few
@given(found=data(), weight=WEIGHTS)
def test_swapping_the_arms_turns_the_sign_and_nothing_else(found: Data, weight: Weight) -> None:
    base, method = found.arms()
    there, back = compare(base, method, weight=weight), compare(method, base, weight=weight)
    turned = replace(
        back,
        delta=-back.delta,
        base_mean=back.method_mean,
        method_mean=back.base_mean,
        ci_low=None if back.ci_high is None else -back.ci_high,
        ci_high=None if back.ci_low is None else -back.ci_low,
        effect_size=None if back.effect_size is None else -back.effect_size,
        p_better=None if back.p_better is None else 1 - back.p_better,
        only_base=back.only_method,
        only_method=back.only_base,
        warnings=there.warnings,  # they are about the base score, which differs
    )
    same(there, turned)


@few
@given(found=data(), weight=WEIGHTS)
def test_an_arm_against_itself_has_no_difference(found: Data, weight: Weight) -> None:
    base, _ = found.arms()
    itself = compare(base, base, weight=weight)
    assert itself.delta == 0
    assert itself.p_value in (None, 1.0)


@few
@given(found=data())
def test_weights_are_the_same_where_every_user_has_one_item(found: Data) -> None:
    alone = replace(found, users=list(range(found.base.shape[1])))
    micro, macro = (compare(*alone.arms(), weight=weight) for weight in ("micro", "macro"))
    same(micro, macro)


@few
@given(found=data(), weight=WEIGHTS)
def test_the_interval_holds_the_estimate(found: Data, weight: Weight) -> None:
    result = compare(*found.arms(), weight=weight)
    assert result.delta == pytest.approx(result.method_mean - result.base_mean)
    if result.ci_low is not None and result.ci_high is not None:
        assert result.ci_low - ROUNDING <= result.delta <= result.ci_high + ROUNDING
        assert -1 <= result.ci_low <= result.ci_high <= 1
    assert result.p_value is None or 0 <= result.p_value <= 1
    score = summarize(found.arms()[1], weight=weight)
    if score.ci_low is not None and score.ci_high is not None:
        assert 0 <= score.ci_low <= score.mean + ROUNDING <= score.ci_high + 2 * ROUNDING <= 1 + 2 * ROUNDING


@few
@given(st.lists(st.tuples(*[st.sampled_from("WTL")] * 2, st.sampled_from("0123456789")), min_size=2, max_size=14))
def test_a_win_rate_turns_with_the_sides_and_not_with_the_orders(verdicts: list[tuple[str, ...]]) -> None:
    first, second = ("".join(verdict[n] for verdict in verdicts) for n in range(2))
    users = [f"user-{verdict[2]}" for verdict in verdicts]
    swap = str.maketrans("WL", "LW")
    won, again = win_rate(first, second, users), win_rate(second, first, users)
    assert again == won
    lost = win_rate(first.translate(swap), second.translate(swap), users)
    assert lost.win_rate == pytest.approx(1 - won.win_rate)
    assert lost.p_value == won.p_value
    assert (lost.wins, lost.ties, lost.losses) == (won.losses, won.ties, won.wins)


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
@given(p_values=P_VALUES, draw=st.data())
def test_a_correction_only_raises_keeps_the_order_and_ignores_where_p_values_stand(
    correct: Callable[[Sequence[float | None]], list[float | None]], p_values: list[float | None], draw: st.DataObject
) -> None:
    adjusted = correct(p_values)
    order = draw.draw(st.permutations(range(len(p_values))))
    assert correct([p_values[n] for n in order]) == [adjusted[n] for n in order]
    pairs = sorted((p, q) for p, q in zip(p_values, adjusted, strict=True) if p is not None and q is not None)
    assert len(pairs) == len(p_values) - p_values.count(None)
    assert all((p <= q or math.isclose(p, q)) and q <= 1 for p, q in pairs)
    assert all(math.isclose(low, high) or low < high for (_, low), (_, high) in itertools.pairwise(pairs))
