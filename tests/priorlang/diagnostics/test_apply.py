"""Fixes: applied whole, never where they overlap, never where the choice is the author's."""

from __future__ import annotations

from pathlib import Path

from priorlang.cli.fixing import Fixed, fix_file
from priorlang.diagnostics.apply import apply_fixes
from priorlang.diagnostics.finding import Edit, Finding, Fix, Severity
from priorlang.diagnostics.span import Position, Span
from priorlang.phases import Prior
from priorlang.syntax.source import SourceFile, read_source


def finding(*edits: tuple[int, int, int, str], automatic: bool = True) -> Finding:
    """A finding whose fix replaces columns [start, end) of lines."""
    spans = [
        (Span("a", Position(line, start), Position(line, end)), text) for line, start, end, text in edits
    ]
    fix = Fix("", tuple(Edit(span, text) for span, text in spans), automatic)
    return Finding("syntax-error", Severity.ERROR, "", spans[0][0], fix=fix)


def test_edits_are_placed_by_line_and_column() -> None:
    text, count = apply_fixes("a", "one\ntwo é three\n", [finding((2, 5, 6, "É")), finding((1, 1, 4, "1"))])
    assert (text, count) == ("1\ntwo É three\n", 2)


def test_overlapping_fixes_wait() -> None:
    text, count = apply_fixes("a", "abcdef", [finding((1, 1, 4, "x")), finding((1, 3, 5, "y"))])
    assert (text, count) == ("xdef", 1)


def test_a_fix_with_one_overlapping_edit_waits_whole() -> None:
    fixes = [finding((1, 1, 2, "x")), finding((1, 1, 2, "y"), (1, 5, 6, "z"))]
    assert apply_fixes("a", "abcdef", fixes) == ("xbcdef", 1)


def test_choices_and_other_files_are_left_alone() -> None:
    assert apply_fixes("a", "abc", [finding((1, 1, 2, "x"), automatic=False)]) == ("abc", 0)
    assert apply_fixes("b", "abc", [finding((1, 1, 2, "x"))]) == ("abc", 0)


HEAD = "priorlang 1\nmodel { layers = 4 experts = 4 top_k = 2 }\nattribute task { ocr, vqa }\n"


def test_fixing_a_file_keeps_its_line_ends_and_mark(tmp_path: Path) -> None:
    file = tmp_path / "a.prior"
    text = HEAD + "default base 1 weight 0.01\nrule a: for task orc prefer 0 bye 1\n"
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert fix_file(read_source(file), {}, None) == Fixed(2, ())
    fixed = file.read_bytes()
    assert (
        fixed
        == b"\xef\xbb\xbf" + text.replace("orc", "ocr").replace("bye", "by").replace("\n", "\r\n").encode()
    )
    assert [finding.name for finding in Prior.read(file).findings] == ["starved-class"]


def test_of_two_rules_the_one_that_matches_less_is_the_exception() -> None:
    text = HEAD + "default base 1 weight 0.01\nrule a: for task ocr weight 0.1\nrule b: weight 0.2\n"
    (conflict,) = Prior(SourceFile("a.prior", text)).findings
    assert conflict.fix is not None
    assert conflict.fix.message == "if `a` is the exception, write `overrides b` in it"


def test_a_conflict_is_not_decided_for_the_author(tmp_path: Path) -> None:
    file = tmp_path / "a.prior"
    text = HEAD + "default base 1 weight 0.01\nrule a: for task ocr weight 0.1\nrule b: weight 0.2\n"
    file.write_text(text)
    fixed = fix_file(read_source(file), {}, None)
    assert fixed.count == 0
    (line,) = fixed.left
    assert line == f"{file}:6:9: conflict left: which way to mend it is yours to decide"
    assert file.read_text() == text
