"""The grammar, its page, and the lexer that stands in for its terminals."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lark import Lark
from lark.exceptions import LarkError
from prior_programs import LANGUAGE_FILES

from priorlang.syntax.grammar_page import grammar_page
from priorlang.syntax.keywords import KEYWORDS
from priorlang.syntax.lexer import tokens_of
from priorlang.syntax.parser import START_SYMBOLS, build_parser, cache_file, grammar_text, parser

OPTIONS = {"maybe_placeholders": False, "propagate_positions": True}
DOCS = Path(__file__).parents[3] / "docs"


def test_page_is_up_to_date() -> None:
    assert (DOCS / "grammar.md").read_text(encoding="utf-8") == grammar_page(), "run `make docs`"


@pytest.fixture(scope="module")
def contextual() -> Lark:
    """Lark's own lexer over the same grammar, under strict: no conflict, no colliding terminals."""
    return Lark(
        grammar_text(), parser="lalr", lexer="contextual", start=list(START_SYMBOLS), strict=True, **OPTIONS
    )


@pytest.mark.parametrize("path", sorted(LANGUAGE_FILES.glob("*.prior")), ids=lambda path: path.name)
def test_both_lexers_read_real_files_alike(path: Path, contextual: Lark) -> None:
    text = path.read_text(encoding="utf-8")
    assert shape(contextual.parse(text, start="start")) == shape(parser().parse(text, start="start"))


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
def test_both_lexers_agree_on_soup(contextual_parser: Lark, words: list[str]) -> None:
    text = "rule x: " + " ".join(words)
    assert outcome(contextual_parser, text) == outcome(parser(), text)


@pytest.fixture(scope="module")
def contextual_parser(contextual: Lark) -> Lark:
    return contextual


def outcome(lark: Lark, text: str) -> object:
    try:
        return shape(lark.parse(text, start="fragment"))
    except LarkError:
        return "refused"


def shape(tree: object) -> object:
    children = getattr(tree, "children", None)
    return str(tree) if children is None else (tree.data, [shape(child) for child in children])


def test_tokens_have_places() -> None:
    tokens = list(tokens_of("a\n  # c\n  not-safe 0..3"))
    assert [(token.type, str(token), token.line, token.column) for token in tokens] == [
        ("NAME", "a", 1, 1),
        ("NAME", "not-safe", 3, 3),
        ("NUMBER", "0", 3, 12),
        ("DOTS", "..", 3, 13),
        ("NUMBER", "3", 3, 15),
    ]


def test_stored_tables_parse_like_fresh_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    parser.cache_clear()
    try:
        first = parser()
        stored = cache_file(grammar_text())
        assert stored is not None
        assert stored.is_file()
        assert stored.stat().st_mode & 0o077 == 0
        parser.cache_clear()
        second = parser()
        assert second is not first
        assert second.source_path == "<deserialized>"
        text = (LANGUAGE_FILES / "z-everything.prior").read_text(encoding="utf-8")
        assert shape(second.parse(text, start="start")) == shape(
            build_parser(grammar_text()).parse(text, start="start")
        )
    finally:
        parser.cache_clear()


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"data": {}, "memo": {}}', b"\x80\x04"])
def test_a_damaged_store_is_no_error(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    stored = cache_file(grammar_text())
    assert stored is not None
    stored.parent.mkdir(parents=True)
    stored.write_bytes(content)
    parser.cache_clear()
    try:
        assert parser().parse("priorlang 1", start="start") is not None
    finally:
        parser.cache_clear()


def test_a_store_that_others_may_write_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    parser.cache_clear()
    try:
        parser()
        stored = cache_file(grammar_text())
        assert stored is not None
        stored.chmod(0o666)
        parser.cache_clear()
        assert getattr(parser(), "source_path", None) != "<deserialized>"
    finally:
        parser.cache_clear()
