"""Both forms of the language say the same, and the sample files are the language."""

from __future__ import annotations

from pathlib import Path

import pytest
from lark import Lark, Token
from prior_programs import LANGUAGE_FILES

from priorlang.syntax import parse, read_source
from priorlang.syntax import tree as t
from priorlang.syntax.build_tables import START_SYMBOLS, grammar_text
from priorlang.syntax.lexer import tokens_of

SAMPLES = sorted(LANGUAGE_FILES.glob("*.prior"))


@pytest.fixture(scope="module")
def strict() -> Lark:
    return Lark(
        grammar_text(),
        parser="lalr",
        lexer="contextual",
        strict=True,
        start=list(START_SYMBOLS),
        maybe_placeholders=False,
        keep_all_tokens=True,
    )


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_grammar_reads_every_sample_without_conflicts(strict: Lark, path: Path) -> None:
    assert strict.parse(path.read_text(encoding="utf-8"), start="start").data == "start"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_our_lexer_finds_the_terminals_of_the_grammar(strict: Lark, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = strict.parse(text, start="start")
    theirs = [token for token in tree.scan_values(lambda _: True) if isinstance(token, Token)]
    ours = list(tokens_of(text))
    assert [(token.text, token.offset, token.line, token.column) for token in ours] == [
        (str(token), token.start_pos, token.line, token.column) for token in theirs
    ]
    for our, their in zip(ours, theirs, strict=True):
        assert our.kind == their.type or not (our.text[0].isalnum() or our.text[0] in '"$')


@pytest.mark.parametrize("name", ["g-today", "z-everything"])
def test_both_forms_hold_the_same_statements(name: str) -> None:
    dsl, dsl_findings = parse(read_source(LANGUAGE_FILES / f"{name}.prior"))
    yaml, yaml_findings = parse(read_source(LANGUAGE_FILES / f"{name}.yaml"))
    assert not dsl_findings
    assert not yaml_findings
    assert dsl.version == yaml.version
    assert len(dsl.statements) == len(yaml.statements)
    for statement in dsl.statements:
        assert _without_order(statement) in [_without_order(other) for other in yaml.statements]


def _without_order(statement: t.Statement) -> object:
    """A statement with its effects as a set: YAML groups what the DSL may scatter."""
    if isinstance(statement, t.Rule):
        return (statement.name, statement.overrides, statement.selector, frozenset(statement.effects))
    if isinstance(statement, t.Default):
        return frozenset(statement.effects)
    return statement
