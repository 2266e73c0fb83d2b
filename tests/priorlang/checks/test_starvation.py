"""How many experts a class prefers, and what that costs a layer: Table 10 first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prior_programs import prior_of

import priorlang
from priorlang.checks.shares import class_shares, group_shares
from priorlang.checks.starvation import Starvation, preferred_experts
from priorlang.semantics.spec import Spec
from priorlang.table.blocks import Space

TABLE_10 = Path(__file__).parents[3] / "specs" / "table-10"
MOSTLY_VISION = {"modality": {"vision": 0.85, "language": 0.15}}
ALPHA = st.lists(st.floats(0.1, 10.0), min_size=2, max_size=12)


def shortfall(spec: Spec, vision: float) -> float:
    """D of the worst layer."""
    space = Space(spec)
    shares = class_shares(spec, {"modality": {"vision": vision, "language": 1 - vision}})
    starvation = Starvation(spec, group_shares(shares, space.matching))
    for block in space.blocks():
        starvation.see(block)
    return float(starvation.shortfall_L.max())


def setting(number: str) -> Spec:
    return priorlang.load(TABLE_10 / f"setting-{number}.prior")


@pytest.mark.parametrize(
    ("number", "names"),
    [
        ("I", set()),
        ("II", set()),
        ("III", {"starved-class", "load-imbalance"}),
        ("IV", {"starved-class", "shortfall", "load-imbalance"}),
    ],
)
def test_table_10_is_judged_as_the_paper_found_it(number: str, names: set[str]) -> None:
    found = priorlang.check(setting(number), shares=MOSTLY_VISION)
    assert {finding.name for finding in found} == names


@pytest.mark.parametrize("vision", [0.55, 0.7, 0.85, 0.95])
def test_the_shortfall_orders_table_10_as_its_accuracies_do(vision: float) -> None:
    first, second, third, fourth = (shortfall(setting(number), vision) for number in ("I", "II", "III", "IV"))
    assert first == second == 0.0
    assert second < third < fourth


@settings(deadline=None)
@given(ALPHA, st.floats(0.01, 100.0))
def test_scaling_alpha_and_renaming_experts_leave_the_number_preferred(
    alpha: list[float], factor: float
) -> None:
    alpha_nE = np.array([alpha])
    (preferred,) = preferred_experts(alpha_nE)
    assert 1.0 - 1e-9 <= preferred <= len(alpha)
    assert preferred_experts(alpha_nE[:, ::-1]) == pytest.approx([preferred])
    near_the_limit = abs(alpha_nE.max() / alpha_nE.mean() - 1.05) < 1e-6
    if not near_the_limit:
        assert preferred_experts(factor * alpha_nE) == pytest.approx([preferred])


@settings(deadline=None)
@given(st.integers(2, 32), st.integers(1, 31), st.floats(0.2, 5.0), st.floats(0.5, 5.0))
def test_experts_preferred_alike_count_one_each(experts: int, some: int, base: float, boost: float) -> None:
    some = min(some, experts)
    alpha_nE = np.full((1, experts), base)
    alpha_nE[:, :some] += boost
    worth = alpha_nE.max() / alpha_nE.mean() >= 1.05
    assert preferred_experts(alpha_nE) == pytest.approx([some if worth else experts])


@settings(deadline=None, max_examples=30)
@given(st.floats(0.05, 100.0), st.integers(2, 8), st.floats(0.0, 1.0))
def test_a_symmetric_prior_has_no_shortfall(base: float, experts: int, vision: float) -> None:
    text = (
        f"priorlang 1 model {{ layers = 2 experts = {experts} top_k = {experts} }}\n"
        f"attribute modality {{ vision, language }}\ndefault base {base:.6f} weight 1\n"
        "rule r: for modality vision base 2\n"
    )
    assert shortfall(prior_of(text).spec, vision) == 0.0


def test_who_starves_whom_is_told_by_rule_and_cell() -> None:
    head = "priorlang 1 model { layers = 4 experts = 4 top_k = 2 } attribute m { a, b }\n"
    text = head + "default base (9, 1, 1, 1) weight 1\nrule late: for m b in layers 2.. prefer 0 by 5\n"
    default, late = (found for found in prior_of(text).findings if found.name == "starved-class")
    assert default.message.startswith("`default`")
    assert default.witness == {"layer": 0, "m": "a"}
    assert late.witness == {"layer": 2, "m": "b"}
