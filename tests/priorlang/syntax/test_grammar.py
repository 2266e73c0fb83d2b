"""The grammar, its page, its tables, and the lexer and the parser that stand in for Lark's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lark import Lark, Token, Tree
from lark.exceptions import LarkError, UnexpectedInput
from prior_programs import LANGUAGE_FILES

from priorlang.syntax import grammar_tables
from priorlang.syntax.build_tables import grammar_parser, tables_module
from priorlang.syntax.builder import Builder, Origin
from priorlang.syntax.grammar_page import grammar_page
from priorlang.syntax.keywords import KEYWORDS
from priorlang.syntax.lexer import Token as OurToken
from priorlang.syntax.lexer import UnreadableError, tokens_of
from priorlang.syntax.parser import MisreadError, Reading, parse_text

DOCS = Path(__file__).parents[3] / "docs"


def test_page_is_up_to_date() -> None:
    assert (DOCS / "grammar.md").read_text(encoding="utf-8") == grammar_page(), "run `make docs`"


def test_tables_are_those_of_the_grammar() -> None:
    written = Path(grammar_tables.__file__).read_text(encoding="utf-8")
    assert written == tables_module(), "run `make docs`"


@pytest.fixture(scope="module")
def lark() -> Lark:
    """Lark's own lexer and parser of the same grammar, under strict: no conflict, no colliding terminals."""
    return grammar_parser()


@pytest.mark.parametrize("path", sorted(LANGUAGE_FILES.glob("*.prior")), ids=lambda path: path.name)
def test_our_parser_reads_real_files_as_lark_does(path: Path, lark: Lark) -> None:
    text = path.read_text(encoding="utf-8")
    ours, theirs = parse_text(text, "start", Origin("a")), built(lark.parse(text, start="start"))
    assert ours == theirs
    assert repr(ours) == repr(theirs), "the spans differ"


WORDS = [
    *sorted(KEYWORDS),
    "vision",
    "a.b",
    "not-safe",
    "0.5",
    "3",
    "..",
    "$x",
    '"q r"',
    "5%",
    "{",
    "}",
    "(",
    ")",
]
WORDS += ["|", ",", ":", "=", "<=", ">", "\n", "# c\n"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=14))
def test_both_parsers_agree_on_soup(lark: Lark, words: list[str]) -> None:
    text = "rule x: " + " ".join(words)
    assert outcome_of_ours(text) == outcome_of_lark(lark, text)


def outcome_of_ours(text: str) -> object:
    try:
        return repr(parse_text(text, "fragment", Origin("a")))
    except MisreadError:
        return "refused"


def outcome_of_lark(lark: Lark, text: str) -> object:
    try:
        return repr(built(lark.parse(text, start="fragment")))
    except LarkError:
        return "refused"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=10))
def test_what_may_stand_next_is_what_lark_would_take(lark: Lark, words: list[str]) -> None:
    ours, theirs = Reading("fragment"), lark.parse_interactive("", start="fragment")
    try:
        tokens = list(tokens_of("rule x: " + " ".join(words)))
    except UnreadableError:
        return
    for token in tokens:
        assert ours.accepts() == theirs.accepts()
        try:
            theirs.feed_token(Token(token.kind, token.text))
        except UnexpectedInput:
            assert not ours.feed(token.kind)
            return
        assert ours.feed(token.kind)


SYMBOLS = {"import_": "import", "comparison": "claim", "measure": "operand", "weight_of": "operand"}
SYMBOLS |= dict.fromkeys(("closed", "from_", "upto"), "range")


def built(node: Tree[Token]) -> Any:
    """The syntax tree of what Lark parsed: our builder's nodes, called from Lark's tree."""
    parts = []
    for child in node.children:
        if isinstance(child, Token):
            parts.append((child.type, ours_of(child)))
        else:
            claim = node.data == "expectation" and child.data == "unshaped"
            parts.append(("claim" if claim else SYMBOLS.get(child.data, child.data), built(child)))
    meta = node.meta
    span = Origin("a").span(meta.line, meta.column, meta.end_line, meta.end_column)
    method = getattr(Builder(Origin("a")), node.data, None)
    return parts[0][1] if method is None else method(parts, span)


def ours_of(token: Token) -> OurToken:
    return OurToken(token.type, str(token), token.start_pos or 0, token.line or 0, token.column or 0)


def test_tokens_have_places() -> None:
    tokens = list(tokens_of("a\n  # c\n  not-safe 0..3"))
    assert [(token.kind, token.text, token.offset, token.line, token.column) for token in tokens] == [
        ("NAME", "a", 0, 1, 1),
        ("NAME", "not-safe", 10, 3, 3),
        ("NUMBER", "0", 19, 3, 12),
        ("DOTS", "..", 20, 3, 13),
        ("NUMBER", "3", 22, 3, 15),
    ]


def test_a_long_enumeration_is_read_in_place() -> None:
    members = ", ".join(f"m{index}" for index in range(20_000))
    node = parse_text(f"attribute a {{ {members} }}", "fragment", Origin("a"))
    assert [member.name.text for member in node.members[::9_999]] == ["m0", "m9999", "m19998"]
