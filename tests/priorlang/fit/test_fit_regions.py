"""Regions say of every cell what was put in, in no more rules than cells of each prior need."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from priorlang.fit.regions import Layout, layout_of

SIZES = (2, 3)
LAYERS, CLASSES, EXPERTS = 3, 6, 3


def rebuilt(layout: Layout) -> np.ndarray:
    """[L, C, K], α of every cell as the rules add up."""
    base = np.full((LAYERS, *SIZES), layout.base, dtype=object)
    excess = np.full((LAYERS, *SIZES, EXPERTS), Fraction(0), dtype=object)
    for region in layout.regions:
        inside = np.ix_(region.cells[0], *region.cells[1])
        if region.effects.base is not None:
            base[inside] = region.effects.base
        for amount, experts in region.effects.pushes:
            for expert in experts:
                excess[(*inside, expert)] = excess[(*inside, expert)] + amount
    return (excess + base[..., None]).reshape(LAYERS, CLASSES, EXPERTS)


@settings(max_examples=150)
@given(
    st.lists(
        st.lists(st.sampled_from([1, 2, 3]), min_size=EXPERTS, max_size=EXPERTS), min_size=1, max_size=4
    ),
    st.data(),
)
def test_rules_add_up_to_what_was_put_in(priors: list[list[int]], data: st.DataObject) -> None:
    numbers = st.integers(0, len(priors) - 1)
    cells = data.draw(st.lists(numbers, min_size=LAYERS * CLASSES, max_size=LAYERS * CLASSES))
    cluster = np.array(cells).reshape(LAYERS, CLASSES)
    alpha = [tuple(Fraction(value, 2) for value in row) for row in priors]
    assert (rebuilt(layout_of(cluster, alpha, SIZES)) == np.array(alpha, dtype=object)[cluster]).all()


def test_what_holds_for_two_attributes_needs_no_rule_for_each_pair() -> None:
    """Vision prefers expert 0, and the last task expert 2: two rules, not three."""
    alpha = [tuple(map(Fraction, row)) for row in ((1, 1, 1), (2, 1, 1), (1, 1, 3), (2, 1, 3))]
    members = np.stack(np.unravel_index(np.arange(CLASSES), SIZES), axis=1)
    cluster = np.tile((members[:, 0] == 0) + 2 * (members[:, 1] == 2), (LAYERS, 1))
    layout = layout_of(cluster, alpha, SIZES)
    assert len(layout.regions) == 2
    assert layout.base == 1


def test_one_prior_everywhere_is_a_base_or_one_rule() -> None:
    cluster = np.zeros((LAYERS, CLASSES), int)
    assert layout_of(cluster, [(Fraction(2),) * 3], SIZES) == Layout(Fraction(2))
    (region,) = layout_of(cluster, [(Fraction(2), Fraction(1), Fraction(1))], SIZES).regions
    assert region.cells == ((0, 1, 2), ((0, 1), (0, 1, 2)))
