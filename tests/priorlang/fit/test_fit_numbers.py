"""Round numbers: as round as the budget allows, and never dearer."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from priorlang.fit.numbers import readable
from priorlang.table.dirichlet import kl

vectors = st.integers(2, 6).flatmap(
    lambda experts: st.lists(
        st.lists(st.floats(0.02, 50), min_size=experts, max_size=experts), min_size=1, max_size=4
    )
)


@given(vectors, st.sampled_from([1e-4, 1e-2, 0.3]))
def test_no_row_costs_more_than_the_budget(rows: list[list[float]], budget: float) -> None:
    alpha = np.array(rows)
    for row, rounded in zip(alpha, readable(alpha, budget), strict=True):
        assert all(value > 0 for value in rounded)
        assert kl(row, np.array([float(value) for value in rounded])) <= budget


def test_numbers_near_round_ones_become_them() -> None:
    found = readable(np.array([[1.243, 1.259, 0.748, 0.752], [0.751, 0.747, 1.25, 1.25]]), 0.005)
    wide, narrow = Fraction(5, 4), Fraction(3, 4)
    assert found == [(wide, wide, narrow, narrow), (narrow, narrow, wide, wide)]


def test_a_small_budget_keeps_digits() -> None:
    (row,) = readable(np.array([[0.8417, 1.3301]]), 1e-7)
    assert [float(value) for value in row] == pytest.approx([0.8417, 1.3301], abs=5e-4)
    (tiny,) = readable(np.array([[3e-5, 2.0]]), 0.01)
    assert tiny[0] > 0
