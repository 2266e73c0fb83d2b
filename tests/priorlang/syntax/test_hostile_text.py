"""Any text at all: findings with places inside the file, never an exception, never without end."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prior_programs import HEAD, YAML_HEAD, findings_of, said

from priorlang.diagnostics.finding import Finding
from priorlang.diagnostics.human import render
from priorlang.syntax.keywords import KEYWORDS
from priorlang.syntax.recovery import statements_of

WORDS = [
    *sorted(KEYWORDS),
    *("modality", "vision", "task", "ocr", "a", "visual", "$p", '"q q"', '"', "0", "3", "0.5", "50%", "1e9"),
    *("{", "}", "(", ")", ",", ":", "=", "|", "..", "<", ">=", "-1", "#x\n", "\n", "nan", "\0", "é", "٣"),
]
YAML_WORDS = [
    *("priorlang: 1", "rule:", "  a:", "    prefer: {0: 1}", "    for: {modality: vision}", "default:"),
    *("  base: 1", "  weight:", "- a", "&a", "*a", "[", "]", "{", "}", "'", '"', "? x", "!!int 3", "|", ": "),
    *("\t", "\u2028", "😀", "\x85", "experts: {a: 0..3}", "allow:", "---", "%YAML 9", "<<: *a", "1", "", "#"),
]


def assert_placed(findings: list[Finding], text: str) -> None:
    """Every place of every finding lies in the text, and its end is not before its start."""
    lines = text.split("\n")
    for finding in findings:
        spans = [finding.span, *(related.span for related in finding.related)]
        spans += [edit.span for edit in finding.fix.edits] if finding.fix else []
        for span in spans:
            assert span.start <= span.end
            for place in (span.start, span.end):
                assert 1 <= place.line <= len(lines)
                assert 1 <= place.column <= len(lines[place.line - 1]) + 1
    render(findings, {"main.prior": text, "main.yaml": text})


def decoded(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@given(st.text(max_size=200).map(decoded))
def test_any_text_is_judged(text: str) -> None:
    assert_placed(findings_of(text), text)
    assert_placed(findings_of(text, "main.yaml"), text)


@settings(max_examples=120)
@given(st.lists(st.sampled_from(WORDS), max_size=40), st.booleans())
def test_any_soup_of_the_languages_words_is_judged(words: list[str], headed: bool) -> None:
    text = (HEAD if headed else "") + " ".join(words)
    assert_placed(findings_of(text), text)


@settings(max_examples=120)
@given(st.lists(st.sampled_from(YAML_WORDS), max_size=20), st.sampled_from(["\n", " "]))
def test_any_soup_of_yaml_is_judged(words: list[str], joint: str) -> None:
    text = YAML_HEAD + joint.join(words)
    assert_placed(findings_of(text, "main.yaml"), text)


@given(st.lists(st.sampled_from(WORDS), max_size=40))
def test_cutting_into_statements_loses_nothing(words: list[str]) -> None:
    text = " ".join(words)
    chunks = list(statements_of(text))
    kept = "".join(chunk.text for chunk in chunks)
    assert text.endswith(kept)
    lost = text[: len(text) - len(kept)]
    assert all(not line.strip() or line.strip().startswith("#") for line in lost.split("\n"))
    lines = text.split("\n")
    for chunk in chunks[1:]:
        assert lines[chunk.line - 1][chunk.column - 1 :].startswith(chunk.keyword)


@pytest.mark.parametrize("text", ["", "\n\n", "# only\n# comments", "priorlang", "priorlang 1\nrule"])
def test_a_file_of_nothing_gives_one_finding(text: str) -> None:
    assert [name for name, _ in said(text)] == ["syntax-error"]


@pytest.mark.parametrize("text", ["", "# only comments\n", "- a\n- b\n", "hello\n"])
def test_yaml_of_nothing_gives_one_finding(text: str) -> None:
    assert [name for name, _ in said(text, "main.yaml")] == ["syntax-error"]


def test_deep_nesting_is_a_finding_at_its_place() -> None:
    text = HEAD + "attribute d { " + "a { " * 20_000 + "x " + "} " * 20_001 + "\nrule a: prefer 9 by 1\n"
    assert said(text) == [("syntax-error", 6), ("out-of-range", 7)]
    nested = YAML_HEAD + "rule: " + "[" * 20_000 + "]" * 20_000 + "\n"
    assert said(nested, "main.yaml") == [("syntax-error", 7)]


def test_many_mistakes_end() -> None:
    findings = [
        finding for finding in findings_of(HEAD + "rule rule\n" * 5_000) if finding.name == "syntax-error"
    ]
    assert 100 < len(findings) < 110
    assert "what follows was not looked at" in findings[-1].message


def test_long_gaps_are_passed_over_once() -> None:
    for gap in (" ", "\n", "#\n", " # x\n\t"):
        assert said(HEAD + gap * 20_000 + "?")[0][0] == "syntax-error"


def test_an_attribute_without_a_member_of_its_own_is_only_a_duplicate() -> None:
    assert said(HEAD + "attribute kind { a { a } }\nrule r: for kind a unshaped\n")[0] == (
        "duplicate-name",
        6,
    )


def test_aliases_are_bounded() -> None:
    layers = ["x0: &x0 [a, a, a, a, a, a, a, a, a, a]"]
    layers += [f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert said("\n".join(layers), "main.yaml") == [("syntax-error", 1)]
    assert ("syntax-error", 1) in said("rule: &r {a: *r}\n", "main.yaml")


@pytest.mark.parametrize(
    "number", ["nan", "inf", "-1", "1e999", "1e-301", "9" * 51, "1e+0300", "٣", "1_000", "0x1"]
)
def test_what_is_no_number_is_a_finding(number: str) -> None:
    assert said(HEAD + f"rule a: base {number}\n")[0][1] == 6
    assert said(YAML_HEAD + f"rule: {{a: {{base: {number}}}}}\n", "main.yaml")[0][1] == 7


@pytest.mark.parametrize("key", ["atribute", "rules", "defaults", "expert"])
def test_a_misspelt_key_makes_no_noise(key: str) -> None:
    meant = {"atribute": "attribute", "rules": "rule", "defaults": "default", "expert": "experts"}[key]
    text = (
        YAML_HEAD
        + "experts: {visual: 0..3}\nrule:\n  a: {for: {modality: vision}, prefer: {visual: 1}}\n"
        + "  b: {overrides: a, layers: 3, unshaped: true}\n"
    )
    broken = text.replace(f"\n{meant}:", f"\n{key}:")
    assert [name for name, _ in said(broken, "main.yaml")] == ["unknown-key"]


@pytest.mark.parametrize(
    "statement", ["attribute: vision", "experts: [a]", "layers: 3", "param: x", "rule: a", "import: {a: b}"]
)
def test_a_statement_of_the_wrong_shape_makes_no_noise(statement: str) -> None:
    text = (
        "priorlang: 1\nmodel: {layers: 2, experts: 4, top_k: 1}\ndefault: {base: 1, weight: 0.1}\n"
        f"{statement}\n"
        + ("" if statement.startswith("rule") else "rule:\n  a: {for: {m: x}, layers: l, prefer: {g: $p}}\n")
    )
    found = [entry for entry in said(text, "main.yaml") if entry[1] == 4]
    keyword = statement.split(":")[0]
    assert found[0] == ("syntax-error", 4)
    about = {"attribute": "attribute", "experts": "experts", "layers": "layers", "param": "parameter"}
    if keyword in about:
        later = [f.message for f in findings_of(text, "main.yaml") if f.span.start.line > 4]
        assert not any(f"there is no {about[keyword]}" in message for message in later)
        assert not any(f"group of {keyword}" in message for message in later)


@pytest.mark.parametrize("schedule", ["{}", "over", "[0%]", "{0%: x}"])
def test_a_schedule_without_a_point_is_a_finding(schedule: str) -> None:
    assert said(YAML_HEAD + f"schedule: {schedule}\n", "main.yaml") == [("syntax-error", 7)]


@pytest.mark.parametrize("key", ["&a", '""', '"a b"', "rule", "? [a]"])
def test_a_setting_is_a_plain_word(key: str) -> None:
    text = YAML_HEAD.replace("layers: 24", f"layers: 24, {key} : 3")
    assert said(text, "main.yaml") == [("syntax-error", 2)]


def test_names_that_the_other_form_cannot_write_are_refused() -> None:
    for name in ("'a\"b'", '"a\\nb"'):
        text = YAML_HEAD + f"rule: {{{name}: {{prefer: {{0: 1}}}}}}\n"
        assert said(text, "main.yaml") == [("syntax-error", 7)]
    assert said(YAML_HEAD + "param: {two words: 1}\n", "main.yaml") == [("syntax-error", 7)]


def test_places_in_yaml_are_counted_in_the_files_own_lines() -> None:
    text = YAML_HEAD + 'rule: {"😀\u2028😀": {prefer: {visul: 1}}}\n'
    (finding,) = (f for f in findings_of(text.replace("\u2028", ""), "main.yaml") if f.name == "unknown-name")
    start = finding.span.start
    line = text.replace("\u2028", "").split("\n")[start.line - 1]
    assert line[start.column - 1 :].startswith("visul")
    assert_placed(findings_of(text, "main.yaml"), text)
