"""Text → tokens: the terminals of grammar.lark by one regular expression and a look at the word.

A contextual lexer compiles an expression for every parser state, which costs more than reading a whole
prior. The language needs context in one place only: after `param` any word is a name. The tests hold this
lexer and the grammar's own terminals to the same tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from priorlang.syntax.keywords import KEYWORDS

_BETWEEN = r"(?:\s+|#[^\n]*)*+"
_REST = re.compile(_BETWEEN)
_TOKEN = re.compile(
    _BETWEEN + r"(?:([A-Za-z_][\w-]*)((?:[./][\w-]+)*)"
    r"|(\$[A-Za-z_][\w-]*)"
    r"|([0-9]+(?:\.[0-9]+)?)(?:(%)|([eE][+-]?[0-9]+))?"
    r'|("[^"\n]*")'
    r"|(\.\.|<=|>=|[<>{}()|,:=]))"
)
_KINDS = {2: "NAME", 3: "REFERENCE", 4: "NUMBER", 5: "PERCENT", 6: "NUMBER", 7: "STRING"}
_NUMERIC = frozenset({5, 6})
_WORDS = {word: word.upper() for word in KEYWORDS}
_SIGNS = {
    "{": "LBRACE",
    "}": "RBRACE",
    "(": "LPAR",
    ")": "RPAR",
    "|": "VBAR",
    ",": "COMMA",
    ":": "COLON",
    "=": "EQUAL",
    "..": "DOTS",
    **dict.fromkeys(("<", "<=", ">=", ">"), "COMPARE"),
}


class Token(NamedTuple):
    """A word of a text: the terminal that it is, and its place. It ends on its own line."""

    kind: str
    text: str
    offset: int
    line: int
    column: int


class UnreadableError(Exception):
    """No token begins at `offset`."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        super().__init__(f"no token begins at offset {offset}")


def tokens_of(text: str) -> Iterator[Token]:
    """The tokens of a text, with places; comments and white space are left out.

    Raises:
        UnreadableError: at a character that begins no token.
    """
    place, line, line_start, end = 0, 1, 0, len(text)
    previous, match = "", _TOKEN.match
    while place < end:
        found = match(text, place)
        if found is None:
            rest = _REST.match(text, place)
            if rest is None or rest.end() < end:
                raise UnreadableError(place if rest is None else rest.end())
            return
        group = found.lastindex or 0
        start = found.start(1 if group == 2 else 4 if group in _NUMERIC else group)
        if start > place:
            breaks = text.count("\n", place, start)
            if breaks:
                line += breaks
                line_start = text.rfind("\n", place, start) + 1
            place = start
        word = text[place : found.end()]
        if group == 8:
            kind = _SIGNS[word]
        elif group != 2:
            kind = _KINDS[group]
        elif previous == "PARAM":
            word, kind = found[1], "PARAM_NAME"
        elif word in _WORDS and text[place + len(word) : place + len(word) + 1] not in {".", "/"}:
            # A keyword is one only where no name goes on behind it.
            kind = _WORDS[word]
        else:
            kind = "NAME"
        yield Token(kind, word, place, line, place - line_start + 1)
        previous = kind
        place += len(word)
