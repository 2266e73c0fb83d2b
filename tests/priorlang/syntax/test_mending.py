"""A fix of a syntax error: only one by which the statement can be read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prior_programs import HEAD, YAML_HEAD, findings_of, said

from priorlang.diagnostics.apply import apply_fixes
from priorlang.syntax.keywords import KEYWORDS


def mended(text: str, name: str = "main.prior") -> str:
    """The text with every fix applied once."""
    return apply_fixes(name, text, findings_of(text, name))[0]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("rule a: for modality in vision prefer 0 by 1", "rule a: for modality vision prefer 0 by 1"),
        (
            "rule a: for modality vision, task ocr unshaped",
            "rule a: for modality vision and task ocr unshaped",
        ),
        ("rule a: prefer 0, 1, 2 by 1", "rule a: prefer 0 | 1 | 2 by 1"),
        ("attribute d { share, weight, 558k }", 'attribute d { "share", "weight", "558k" }'),
        ("experts visual = 0-3", "experts visual = 0..3"),
        ("rule a: prefer [0, 1] by 1", "rule a: prefer 0 | 1 by 1"),
        ("rule a: prefer 0 by 1;", "rule a: prefer 0 by 1"),
        ("rule a: prefer 0 by .5", "rule a: prefer 0 by 0.5"),
        ("rule a: prefer 0 by +0.5", "rule a: prefer 0 by 0.5"),
        ("rule a: prefer 0 by 50%", "rule a: prefer 0 by 0.5"),
        ("rule a: prefer 0 0.5", "rule a: prefer 0 by 0.5"),
        ("rule a: prefer [0, 1] by 1;", "rule a: prefer 0 | 1 by 1"),
        ("rule a: for modality in vision prefr 0 bye 1", "rule a: for modality vision prefer 0 by 1"),
        ("rule a: base 1 rul b: base 2", "rule a: base 1 rule b: base 2"),
    ],
)
def test_a_fix_makes_the_statement_readable(wrong: str, right: str) -> None:
    assert mended(HEAD + wrong + "\n") == HEAD + right + "\n"


def test_a_key_that_is_there_already_is_no_fix() -> None:
    text = YAML_HEAD + "rules: {a: {prefer: {0: 1}}}\nrule: {b: {prefer: {0: 1}}}\n"
    assert mended(text, "main.yaml") == text
    alone = text.replace("rule:", "param:")
    assert mended(alone, "main.yaml") == alone.replace("rules:", "rule:")


def test_mistakes_of_one_statement_are_told_together_where_they_can_be_mended() -> None:
    assert said(HEAD + "rule a: for modality in vision\n  prefer 0, 1\n  bye 1\n") == [
        ("syntax-error", 6),
        ("syntax-error", 7),
        ("syntax-error", 8),
    ]
    assert said(HEAD + "rule a: for modality in vision\n  prefer 0, 1\n  wye -1\n") == [("syntax-error", 6)]


@pytest.mark.parametrize(
    "broken",
    ["attribute kind { a, b", "schedule { 0: 0, 50: 1", "rule x: for task ocr prefer 0 0.5 0.5", "model {"],
)
@pytest.mark.parametrize("indent", ["", "  ", "        ", "\t"])
def test_a_misspelt_statement_after_a_broken_one_is_told(broken: str, indent: str) -> None:
    text = f"{HEAD}{broken}\n{indent}rul a: for task orc prefer 0 by 1\nrule b: for task orc prefer 0 by 1\n"
    lines = [line for _, line in said(text)]
    assert lines == [6, 7, 8]


def test_the_commas_of_model_go_together() -> None:
    text = HEAD.replace("layers = 24  experts = 8  top_k", "layers = 24, experts = 8, top_k")
    assert mended(text) == HEAD.replace("layers = 24  experts = 8  top_k", "layers = 24 experts = 8 top_k")


@pytest.mark.parametrize(
    "wrong",
    [
        "rule a: for vision prefer 0 by 1",
        "rule a: for modality vision and not task ocr prefer 0 by 1",
        "rule a: prefer not 0 | not 1 by 1",
        "rule a: prefer 0 by boost",
        "rule a: prefer 0 by -1",
        "rule a: for vision, task ocr prefer 0 by",
        "rule a: prefer [0, 1] by -1",
        "rule a: prefer 0 1",
    ],
)
def test_what_is_the_authors_to_say_is_left_alone(wrong: str) -> None:
    assert mended(HEAD + wrong + "\n") == HEAD + wrong + "\n"


def test_a_fix_in_yaml_writes_nothing_that_yaml_reads() -> None:
    text = YAML_HEAD + "experts: {visual: 0-3}\nrule: {a: {for: {task: share}, prefer: {0: 1}}}\n"
    assert mended(text, "main.yaml") == text.replace("0-3", "0..3")
    escaped = YAML_HEAD + 'experts: {visual: "0\\x2d3"}\n'
    assert mended(escaped, "main.yaml") == escaped


WORDS = [
    *sorted(KEYWORDS),
    "modality",
    "vision",
    "0",
    "0.5",
    "50%",
    "$p",
    ",",
    "|",
    "or",
    "..",
    "-1",
    "=",
    "[",
    "]",
]


@settings(max_examples=100)
@given(st.lists(st.sampled_from(WORDS), max_size=8))
def test_every_fix_mends_its_mistake(words: list[str]) -> None:
    text = HEAD + "rule a: for modality " + " ".join(words) + "\n"
    syntax = [finding for finding in findings_of(text) if finding.name == "syntax-error"]
    for finding in syntax:
        fixed, count = apply_fixes("main.prior", text, [finding])
        left = [name for name, _ in said(fixed)].count("syntax-error")
        assert left < len(syntax) or not count, (text, fixed)


def test_a_mistake_that_a_repair_makes_is_not_told() -> None:
    text = HEAD + "schedul,e { 0: 0 }\n"
    assert len(said(text)) == 1
    assert all(finding.span.start.column >= 1 for finding in findings_of(text))
