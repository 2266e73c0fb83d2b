"""Findings as people see them."""

from __future__ import annotations

from priorlang.diagnostics.finding import Finding, Severity
from priorlang.diagnostics.human import Style, render, summary
from priorlang.diagnostics.span import Position, Span, whole_file


def finding(line: int, start: int, end: int, message: str = "no") -> Finding:
    span = Span("a.prior", Position(line, start), Position(line, end))
    return Finding("conflict", Severity.ERROR, message, span)


def shown(text: str, *findings: Finding) -> list[str]:
    return render(findings, {"a.prior": text}).split("\n")


def test_the_underline_stands_below_what_is_meant() -> None:
    lines = shown("first\n\tan über \t word\n", finding(2, 5, 9))
    assert lines[4][lines[3].index("über") :] == "^^^^"
    assert lines[4].strip(" |") == "^^^^"


def test_a_long_line_is_cut_around_the_place() -> None:
    text = "x" * 5000 + "HERE" + "y" * 5000
    lines = shown(text, finding(1, 5001, 5005))
    assert len(lines[3]) < 200
    assert lines[3][lines[4].index("^") :].startswith("HERE")


def test_a_place_outside_the_text_is_still_named() -> None:
    assert shown("", finding(7, 1, 2)) == ["error[conflict]: no", " --> a.prior:7:1"]
    assert render([Finding("conflict", Severity.ERROR, "no", whole_file("b"))], {}).endswith("b:1:1")


def test_what_a_terminal_would_obey_is_not_shown() -> None:
    assert "\x1b" not in "\n".join(shown("a \x1b[2J b\x07\x9b", finding(1, 3, 4)))
    assert "\x1b" in render([finding(1, 1, 2)], {"a.prior": "a"}, Style(colour=True))


def test_the_summary_counts() -> None:
    assert summary([]) == ""
    assert summary([finding(1, 1, 2), finding(1, 1, 2)]) == "2 errors"
