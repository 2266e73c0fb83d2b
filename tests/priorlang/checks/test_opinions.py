"""Opinions: independent of the order of rules, silenced by `allow`, and silent where nothing is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prior_programs import LANGUAGE_FILES, findings_of, prior_of

import priorlang
from priorlang.checks.weak import WEAK, passing_density
from priorlang.phases import Prior
from priorlang.table.dirichlet import top_k_probability

HEAD = "priorlang 1\nmodel { layers = 4  experts = 8  top_k = 2 }\nattribute m { a, b }\n"
SHARES = {"m": {"a": 3, "b": 1}}


def said(text: str) -> list[tuple[str, str, str]]:
    """Findings without their places."""
    found = priorlang.check(prior_of(text).spec, shares=SHARES)
    return sorted((item.name, item.severity.value, item.message) for item in found)


RULES = (
    "rule one: for m a prefer 0 by 0.5",
    "rule two: for m b in layers ..1 prefer 1..7 by 0.01",
    "rule three: avoid 0 by 0.25",
    "rule four: in layers 2.. prefer 3 by 3",
    "rule five: weight 0.01",
    "rule six overrides three: for m b in layers 3 base 0.04",
)


@settings(deadline=None, max_examples=25)
@given(st.permutations(RULES))
def test_the_order_of_rules_plays_no_part(rules: list[str]) -> None:
    head = HEAD + "default base 0.75 weight 0.01\n"
    assert said(head + "\n".join(rules)) == said(head + "\n".join(RULES))


def test_there_is_something_to_say_of_them() -> None:
    names = {name for name, _, _ in said(HEAD + "default base 0.75 weight 0.01\n" + "\n".join(RULES))}
    assert {
        "starved-class",
        "weak-preference",
        "contested-expert",
        "redundant-rule",
        "extreme-alpha",
    } <= names


@pytest.mark.parametrize("name", ["starved-class", "weak-preference", "contested-expert", "extreme-alpha"])
def test_allow_silences(name: str) -> None:
    text = HEAD + "default base 0.75 weight 0.01\n" + "\n".join(RULES) + f'\nallow {name} because "it is"\n'
    assert name not in {found for found, _, _ in said(text)}


@settings(deadline=None)
@given(st.floats(0.1, 50.0), st.integers(2, 16), st.integers(1, 15), st.floats(0.001, 0.05))
def test_a_weak_preference_moves_no_mean_and_no_chance(
    base: float, experts: int, top_k: int, part: float
) -> None:
    top_k = min(top_k, experts)
    amount = part * base / max(1.0, np.sqrt(base) * passing_density(top_k / experts))
    without_E = np.full(experts, base)
    with_E = without_E.copy()
    with_E[0] += amount
    chance = top_k_probability(with_E, top_k)[0] / (top_k / experts) - 1.0
    mean = with_E[0] / with_E.sum() * experts - 1.0
    assert max(chance, mean) <= 1.2 * part


def test_the_paper_has_no_weak_preference() -> None:
    faintest = 0.25 / 1.0 * max(1.0, passing_density(2 / 4))
    assert faintest > 4 * WEAK


@pytest.mark.parametrize(
    "name", ["a-symmetric", "b-modality", "f-granular", "g-yesterday", "h-unknown", "j-sweep"]
)
def test_sane_priors_are_left_alone(name: str) -> None:
    assert not Prior.read(LANGUAGE_FILES / f"{name}.prior").findings


def test_extremes_stand_at_the_rule_that_leads_there() -> None:
    text = HEAD + (
        "default base 1 weight 1\nrule wide: for m a prefer 0..1 by 0.5\n"
        "rule narrow: for m a in layers 3 avoid 7 by 0.97\n"
    )
    (finding,) = [item for item in findings_of(text) if item.name == "extreme-alpha"]
    assert finding.span.start.line == 6
    assert finding.witness == {"layer": 3, "m": "a"}


def test_loads_of_one_class_need_no_shares() -> None:
    text = "priorlang 1 model { layers = 2 experts = 2 top_k = 1 } default base (3, 1) weight 1\n"
    assert "load-imbalance" in {finding.name for finding in findings_of(text)}
    two = text.replace("default", "attribute m { a, b } default")
    assert "load-imbalance" in {finding.name for finding in findings_of(two)}
    apart = two + "rule r: for m b base 1\n"
    assert "load-imbalance" not in {finding.name for finding in findings_of(apart)}


def test_a_prior_beyond_float64_sums_is_judged_exactly() -> None:
    text = HEAD + (
        "default base 1e18 weight 1\nrule up: for m a prefer 0 by 1e-20\nrule down: for m a avoid 0 by 1e-20\n"
    )
    contested = [item for item in findings_of(text) if item.name == "contested-expert"]
    assert [item.severity.value for item in contested] == ["warning"]
