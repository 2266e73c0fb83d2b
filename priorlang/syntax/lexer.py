"""Text → tokens: the terminals of grammar.lark by one regular expression and a look at the word.

Lark's contextual lexer compiles an expression for every parser state, which costs more than reading a
whole prior. The language needs context in one place only: after `param` any word is a name. The tests
hold this lexer and the grammar's own terminals to the same tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from lark import Token
from lark.exceptions import UnexpectedCharacters
from lark.lexer import Lexer

from priorlang.syntax.keywords import KEYWORDS

_TOKEN = re.compile(
    r"""(?P<SKIP>\s+|\#[^\n]*)
      | (?P<WORD>[A-Za-z_][\w-]*)(?P<TAIL>(?:[./][\w-]+)*)
      | (?P<REFERENCE>\$[A-Za-z_][\w-]*)
      | (?P<PERCENT>[0-9]+(?:\.[0-9]+)?%)
      | (?P<NUMBER>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
      | (?P<STRING>"[^"\n]*")
      | (?P<DOTS>\.\.)
      | (?P<COMPARE><=|>=|[<>])
      | (?P<SIGN>[{}()|,:=])""",
    re.VERBOSE,
)
_SIGNS = {
    "{": "LBRACE",
    "}": "RBRACE",
    "(": "LPAR",
    ")": "RPAR",
    "|": "VBAR",
    ",": "COMMA",
    ":": "COLON",
    "=": "EQUAL",
}


class PriorLexer(Lexer):
    """A custom lexer for Lark. See `tokens_of`."""

    def __init__(self, _conf: object) -> None: ...

    def lex(self, text: str) -> Iterator[Token]:  # type: ignore[override]
        """The tokens of a text."""
        return tokens_of(text)


def tokens_of(text: str) -> Iterator[Token]:
    """The tokens of a text, with places; comments and white space are left out.

    Raises:
        UnexpectedCharacters: at a character that begins no token.
    """
    place, line, line_start = 0, 1, 0
    previous = ""
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            error: Callable[..., UnexpectedCharacters] = UnexpectedCharacters
            raise error(text, place, line, place - line_start + 1, allowed=set())
        kind = found.lastgroup or ""
        word = found[0]
        if kind == "SKIP":
            breaks = word.count("\n")
            if breaks:
                line += breaks
                line_start = place + word.rfind("\n") + 1
            place = found.end()
            continue
        if kind in {"WORD", "TAIL"}:
            if previous == "PARAM":
                word = found["WORD"]
            kind = _word_kind(word, previous, text[place + len(word) : place + len(word) + 1])
        elif kind == "SIGN":
            kind = _SIGNS[word]
        column = place - line_start + 1
        token = Token(kind, word, place, line, column, line, column + len(word), place + len(word))
        yield token
        previous = kind
        place += len(word)


def _word_kind(word: str, previous: str, after: str) -> str:
    """A keyword is one only where no name goes on behind it."""
    if previous == "PARAM":
        return "PARAM_NAME"
    return word.upper() if word in KEYWORDS and after not in {".", "/"} else "NAME"
