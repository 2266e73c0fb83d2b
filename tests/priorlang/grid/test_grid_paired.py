"""Means, spreads and paired differences, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from priorlang.grid.paired import compare, summarise

NUMBERS = st.floats(-1e3, 1e3).map(lambda value: round(value, 6))
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=9)


@given(PAIRS)
def test_the_interval_is_that_of_a_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    first, second = (dict(enumerate(column)) for column in zip(*pairs, strict=True))
    found = compare(first, second, None)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    differences = np.subtract(list(first.values()), list(second.values()))
    if differences.std() < 1e-9:
        assert found.low == pytest.approx(found.high, abs=1e-6)
        return
    theirs = ttest_rel(list(first.values()), list(second.values())).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=1e-6, abs=1e-6)
    assert found.mean == pytest.approx(differences.mean(), abs=1e-9)
    assert found.wins == (differences > 0).sum()


@given(PAIRS)
def test_wins_turn_with_what_is_better_and_ties_count_for_neither(pairs: list[tuple[float, float]]) -> None:
    first, second = (dict(enumerate(column)) for column in zip(*pairs, strict=True))
    more, less = compare(first, second, "higher"), compare(first, second, "lower")
    assert more is not None
    assert less is not None
    assert more.wins + less.wins == sum(a != b for a, b in pairs)


def test_only_common_seeds_are_compared() -> None:
    found = compare({0: 1.0, 1: 2.0, 5: 9.0}, {1: 1.5, 0: 0.0, 7: 3.0}, "higher")
    assert found is not None
    assert (found.n, found.mean, found.wins) == (2, 0.75, 2)
    assert compare({0: 1.0}, {1: 1.0}, None) is None


def test_one_seed_has_no_spread() -> None:
    one = summarise([0.5])
    assert one is not None
    assert (one.n, one.mean, one.sd) == (1, 0.5, None)
    paired = compare({0: 1.0}, {0: 0.5}, "lower")
    assert paired is not None
    assert (paired.n, paired.mean, paired.se, paired.low, paired.high, paired.wins) == (
        1,
        0.5,
        None,
        None,
        None,
        0,
    )
    assert summarise([]) is None
