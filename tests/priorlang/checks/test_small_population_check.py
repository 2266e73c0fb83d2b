"""Populations that are too small, from shares and the size of a batch."""

from __future__ import annotations

import pytest
from prior_programs import prior_of

import priorlang
from priorlang.diagnostics.finding import Finding

TEXT = (
    "priorlang 1\nmodel { layers = 4  experts = 8  top_k = 2 }\nattribute m { a, b }\nattribute d { x, y, z }\n"
    "default base 1 weight 1\nrule r: for m b in layers 2.. prefer 0..3 by 1 split by d\n"
)
SHARES = {"m": {"a": 0.9, "b": 0.1}, "d": {"x": 0.5, "y": 0.5, "z": 0}}


def small(batch_tokens: float) -> list[Finding]:
    found = priorlang.check(prior_of(TEXT).spec, SHARES, batch_tokens)
    return [item for item in found if item.name == "small-population"]


@pytest.mark.parametrize(("batch_tokens", "count"), [(640, 0), (639, 2)])
def test_fewer_than_32_are_small_and_none_at_all_is_no_matter(batch_tokens: int, count: int) -> None:
    assert len(small(batch_tokens)) == count


def test_it_says_which_where_and_how_few() -> None:
    first = small(320)[0]
    assert "population of b, x in layers 2..3 gets about 16 of the 320 tokens" in first.message
    assert first.span.start.line == 6
    assert first.witness == {"layer": 2, "m": "b", "d": "x"}


def test_without_shares_nothing_is_assumed() -> None:
    assert not [f for f in priorlang.check(prior_of(TEXT).spec, None, 8) if f.name == "small-population"]
