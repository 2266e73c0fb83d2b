"""Scalars follow YAML 1.2's core schema, and every value knows its place."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from priorlang.diagnostics.span import Position
from priorlang.training.yaml_tree import read_tree, read_value


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("2.0e-5", 2e-5), (".5", 0.5), ("no", "no"), ("on", "on"), ("001", "001"), ("12", 12),
     ("-3", -3), ("true", True), ("~", None), ("null", None), ("1_000", "1_000"), ("'3'", "3"),
     ("a: b", {"a": "b"}), ("0x10", "0x10"), ("1:30", "1:30"), ("2026-11-22", "2026-11-22"),
     (".inf", math.inf)],
)  # fmt: skip
def test_scalars(text: str, value: object) -> None:
    found = read_value(text)
    assert found == value
    assert type(found) is type(value)


@given(st.integers())
def test_integers_survive(number: int) -> None:
    assert read_value(str(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_survive(number: float) -> None:
    assert read_value(repr(number)) == number


def test_places_count_from_one_in_code_points() -> None:
    tree = read_tree("é: {ω: [1, 22]}\n", "f.yaml")
    assert tree.value_span(("é", "ω", 1)).start == Position(1, 12)
    assert tree.value_span(("é", "ω", 1)).end == Position(1, 14)
    assert tree.key_span(("é", "ω")).start == Position(1, 5)
    assert tree.value_span(("é", "nothing")) == tree.value_span(("é",))
