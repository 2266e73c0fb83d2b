"""The Lark parser of grammar.lark, built once a process, for each of its start symbols."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lark import Lark

START_SYMBOLS = ("start", "fragment", "set", "value", "number", "name", "place", "expectation")


def grammar_text() -> str:
    """The text of the grammar."""
    return files("priorlang.syntax").joinpath("grammar.lark").read_text(encoding="utf-8")


@cache
def parser() -> Lark:
    """The parser: LALR(1) with a contextual lexer; call `.parse(text, start=…)`."""
    from lark import Lark

    return Lark(
        grammar_text(),
        parser="lalr",
        lexer="contextual",
        start=list(START_SYMBOLS),
        propagate_positions=True,
        maybe_placeholders=False,
    )
