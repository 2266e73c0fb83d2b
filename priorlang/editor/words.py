"""Text → words of the DSL with the statement each belongs to; nothing in a text stops this."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from priorlang.syntax.keywords import STATEMENT_KEYWORDS
from priorlang.syntax.lexer import UnreadableError, tokens_of

_STARTS = frozenset(word.upper() for word in ("priorlang", *STATEMENT_KEYWORDS))
_UNREADABLE = re.compile(r'"[^\n]*|[^\s{}(),:=|"]+|.', re.DOTALL)
MAXIMUM_GAPS = 1_000
"""Stretches that are no words of the language; a file with more is read up to there."""


@dataclass(frozen=True, slots=True)
class Word:
    """A token of the language. `start` and `end` are offsets."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """The name that a word stands for: without quotes, and without the sign of a parameter."""
        return self.text.strip('"') if self.kind == "STRING" else self.text.removeprefix("$")


def words_of(text: str) -> list[Word]:
    """The words of a text. What is none is passed over."""
    return list(_words(text))


def statements(words: list[Word]) -> Iterator[list[Word]]:
    """Words cut at the keywords that begin a statement; the first piece may begin with any word."""
    piece: list[Word] = []
    for index, word in enumerate(words):
        after = words[index + 1].kind if index + 1 < len(words) else ""
        if piece and begins_statement(word.kind, words[index - 1].kind if index else "", after):
            yield piece
            piece = []
        piece.append(word)
    if piece:
        yield piece


def begins_statement(kind: str, before: str, after: str) -> bool:
    """Whether a word begins a statement; `layers` and `experts` also stand inside of statements."""
    if kind in {"LAYERS", "EXPERTS"} and (before in {"IN", "OVER"} or after == "EQUAL"):
        return False
    return kind in _STARTS


def _words(text: str) -> Iterator[Word]:
    begin = 0
    for _ in range(MAXIMUM_GAPS):
        try:
            for token in tokens_of(text[begin:]):
                start = begin + token.offset
                yield Word(token.kind, token.text, start, start + len(token.text))
        except UnreadableError as error:
            found = _UNREADABLE.match(text, begin + error.offset)
            begin = found.end() if found else len(text)
        else:
            return
