"""The edit that makes one text of another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from priorlang.editor.edits import applied, replacement

TEXTS = st.lists(st.sampled_from(["a\n", "b\n", "\n", "c"]), max_size=8).map("".join)


@given(TEXTS, TEXTS)
def test_it_makes_one_text_of_another(before: str, after: str) -> None:
    assert applied(before, replacement(before, after, "x")) == after


def test_lines_that_are_the_same_stay() -> None:
    (edit,) = replacement("a\nb\nc\n", "a\nx\ny\nc\n", "x")
    assert edit.text == "x\ny\n"
    assert (edit.span.start.line, edit.span.end.line) == (2, 3)
    assert replacement("a\n", "a\n", "x") == []
