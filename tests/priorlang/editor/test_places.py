"""Offsets, lines and columns, and the units that editors count columns in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from priorlang.diagnostics.span import Position
from priorlang.editor.places import Encoding, Lines, from_units, normalized, to_units

TEXTS = st.text(st.sampled_from("a é𝛼\n\t\x85\u2028ö"), max_size=40)


@pytest.mark.parametrize(("encoding", "units"), [("utf-8", 8), ("utf-16", 5), ("utf-32", 4)])
def test_units_before_a_column(encoding: Encoding, units: int) -> None:
    line = "aé𝛼b|"
    assert to_units(line, 5, encoding) == units
    assert from_units(line, units, encoding) == 5


def test_a_unit_inside_a_character_is_at_its_start() -> None:
    assert from_units("a𝛼b", 2, "utf-16") == 2
    assert from_units("a𝛼b", 99, "utf-16") == 4


@given(TEXTS, st.integers(0, 40), st.sampled_from(["utf-8", "utf-16", "utf-32"]))
def test_columns_survive_the_way_to_the_editor_and_back(line: str, column: int, encoding: Encoding) -> None:
    column = min(column, len(line)) + 1
    assert from_units(line, to_units(line, column, encoding), encoding) == column


@given(TEXTS)
def test_units_are_those_of_the_encoding(line: str) -> None:
    assert to_units(line, len(line) + 1, "utf-16") == len(line.encode("utf-16-le")) // 2
    assert to_units(line, len(line) + 1, "utf-8") == len(line.encode())


@given(TEXTS, st.integers(0, 40))
def test_offsets_survive_the_way_to_places_and_back(text: str, offset: int) -> None:
    lines, offset = Lines(text), min(offset, len(text))
    place = lines.position(offset)
    assert lines.offset(place) == offset
    assert place.line == text.count("\n", 0, offset) + 1


def test_places_beyond_the_text_are_at_its_end() -> None:
    lines = Lines("ab\nc")
    assert lines.offset(Position(1, 99)) == 2
    assert lines.offset(Position(99, 1)) == 4
    assert lines.offset(Position(0, 1)) == 0
    assert lines.line(99) == ""


def test_texts_are_read_as_the_compiler_reads_them() -> None:
    assert normalized("\ufeffa\r\nb\rc\ud800") == "a\nb\nc\ufffd"
