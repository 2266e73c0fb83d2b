"""Both printers: any program survives DSL → YAML → DSL, comments included, and `fmt` has one answer."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prior_programs import HEAD, LANGUAGE_FILES
from random_programs import Program, programs, text_of

from priorlang.diagnostics.finding import PriorError
from priorlang.phases import Prior
from priorlang.syntax import SourceFile, parse
from priorlang.syntax.reformat import formatted, rewritten, same_program


def commented(text: str, random: Random) -> str:
    """The text with comments between its lines and at their ends."""
    lines = []
    for number, line in enumerate(text.split("\n")):
        if random.random() < 0.2:
            lines.append(f"{' ' * random.randrange(3)}# before {number}")
        lines.append(f"{line}  # after {number}" if line.strip() and random.random() < 0.2 else line)
    return "\n".join([*lines, "# the end"] if random.random() < 0.5 else lines)


@settings(max_examples=60, deadline=None)
@given(program=programs(), seed=st.integers(0, 2**32))
def test_there_and_back(program: Program, seed: int) -> None:
    dsl = SourceFile("a.prior", commented(text_of(program, Random(seed)), Random(seed)))
    original, findings = parse(dsl)
    assert not findings
    yaml = SourceFile("a.yaml", rewritten(dsl, "a.yaml"))
    back = SourceFile("a.prior", rewritten(yaml, "a.prior"))
    assert same_program(original, parse(back)[0])
    assert len(original.comments) == len(parse(back)[0].comments)
    assert formatted(dsl) == back.text, "convert twice is fmt"
    assert formatted(back) == back.text, "fmt is idempotent"
    assert formatted(yaml) == yaml.text
    assert meaning(dsl) == meaning(yaml) == meaning(back)


def meaning(source: SourceFile) -> str | list[str]:
    """The hash of what a file asks for, or the names of its errors."""
    try:
        return Prior(source).table.header.normal_form
    except PriorError as error:
        return sorted(finding.name for finding in error.findings)


@pytest.mark.parametrize("path", sorted(LANGUAGE_FILES.iterdir()), ids=lambda path: path.name)
def test_real_files(path) -> None:
    source = SourceFile(path.name, path.read_text(encoding="utf-8"))
    for target in ("b.prior", "b.yaml"):
        text = rewritten(source, target)
        assert formatted(SourceFile(target, text)) == text
        assert same_program(parse(source)[0], parse(SourceFile(target, text))[0])


def test_comments_stay_with_their_parts() -> None:
    text = HEAD + (
        "# why a\n"
        "rule a overrides b:  # it is the exception\n"
        "  for task ocr       # read text\n"
        "  # strongly\n"
        "  prefer 0 by 1\n"
        "rule b: weight 0.02  # all else\n"
        "# last words\n"
    )
    yaml = rewritten(SourceFile("a.prior", text), "a.yaml")
    assert "  # why a\n  a:\n    overrides: [b]  # it is the exception\n" in yaml
    assert "    for: {task: ocr}  # read text\n    prefer:\n      # strongly\n      0: 1\n" in yaml
    assert "    weight: 0.02  # all else\n" in yaml
    assert yaml.endswith("# last words\n")


def test_order_is_by_kind_and_alike_names_are_aligned() -> None:
    text = (
        "priorlang 1\nrule bb: weight 0.02 base 1\nexperts a = 0\nexperts long-name = 1|2\n"
        "model { experts = 4 layers = 2 top_k = 1 } rule c: prefer a|long-name by 1\ndefault base 1 weight 0.01\n"
    )
    assert formatted(SourceFile("a.prior", text)) == (
        "priorlang 1\n\nmodel { experts = 4  layers = 2  top_k = 1 }\n\n"
        "experts a         = 0\nexperts long-name = 1 | 2\n\n"
        "default base 1 weight 0.01\n\n"
        "rule bb: base 1 weight 0.02\nrule c:  prefer a | long-name by 1\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "rule a: prefer 0 by 1\nrule a: prefer 1 by 1\n",
        "rule a: for task ocr and task vqa prefer 0 by 1\n",
        "rule a: base 1 base 2\n",
        "rule a: base 1 share 0.5 to 0 share 0.25 to 0\n",
        "schedule { 5%: 1, 5%: 2 }\n",
        "rule a: unshaped unshaped\n",
    ],
)
def test_what_yaml_cannot_say_is_refused(text: str) -> None:
    with pytest.raises(PriorError) as refused:
        rewritten(SourceFile("a.prior", HEAD + text), "a.yaml")
    assert refused.value.findings[0].name == "duplicate-name"


def test_a_rule_that_splits_twice_is_printed_with_one_split() -> None:
    text = HEAD + "rule a: split by task # why\n split by modality, task prefer 0 by 1\n"
    printed = rewritten(SourceFile("a.prior", text), "a.yaml")
    assert "split: [task, modality]  # why" in printed
    assert formatted(SourceFile("a.yaml", printed)) == printed


def test_of_two_comments_after_a_statement_one_stands_above() -> None:
    printed = formatted(
        SourceFile("a.prior", HEAD + "attribute kind { a # first\n} # second\nexperts v = 0\n")
    )
    assert "\n# first\nattribute kind { a }  # second\n" in printed
    assert formatted(SourceFile("a.prior", printed)) == printed


@pytest.mark.parametrize(
    "statement", ["model:\n  layers: 1", "default:\n  unshaped: true", "schedule:\n  0%: 1"]
)
def test_a_comment_before_a_statement_of_one_piece_is_kept_once(statement: str) -> None:
    text = f"priorlang: 1\n\n# why\n{statement}\n"
    printed = formatted(SourceFile("a.yaml", text))
    assert printed.count("# why") == 1
    assert formatted(SourceFile("a.yaml", printed)) == printed


@pytest.mark.parametrize(
    "statement",
    ['import ""', 'rule "" overrides "": for "" "" unshaped', 'attribute "" { "" }', 'experts "" = ""'],
)
def test_a_name_of_nothing_is_a_name(statement: str) -> None:
    text = f"priorlang 1\n\n{statement}\n"
    printed = rewritten(SourceFile("a.prior", text), "a.yaml")
    assert same_program(parse(SourceFile("a.prior", text))[0], parse(SourceFile("a.yaml", printed))[0])


def test_a_comment_after_a_quoted_sign_is_a_comment() -> None:
    text = 'priorlang: 1\nattribute: {kind: ["a # b", c]}  # why\n'
    assert [comment.text for comment in parse(SourceFile("a.yaml", text))[0].comments] == ["# why"]
    printed = rewritten(SourceFile("a.yaml", text), "a.prior")
    assert 'attribute kind { "a # b", c }  # why' in printed


def test_a_broken_file_is_not_formatted() -> None:
    with pytest.raises(PriorError):
        formatted(SourceFile("a.prior", HEAD + "rule a: prefer 0 bye 1\n"))
