"""Places in a text: offsets, the compiler's lines and columns, and the columns that editors count in."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Literal

from priorlang.diagnostics.span import Position, Span

Encoding = Literal["utf-8", "utf-16", "utf-32"]
"""The unit of an editor's columns; UTF-16 unless client and server agree on another."""


class Lines:
    """The lines of a text, which end at line feeds alone."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def line(self, number: int) -> str:
        """A line by its number from 1, without its end; empty beyond the text."""
        if not 1 <= number <= len(self.starts):
            return ""
        end = self.starts[number] - 1 if number < len(self.starts) else len(self.text)
        return self.text[self.starts[number - 1] : end]

    def position(self, offset: int) -> Position:
        """The place of an offset."""
        line = bisect_right(self.starts, offset)
        return Position(line, offset - self.starts[line - 1] + 1)

    def offset(self, place: Position) -> int:
        """The offset of a place; one beyond its line or the text is at the end of that."""
        if place.line < 1:
            return 0
        if place.line > len(self.starts):
            return len(self.text)
        return self.starts[place.line - 1] + max(0, min(place.column - 1, len(self.line(place.line))))

    def span(self, file: str, start: int, end: int) -> Span:
        """The span between two offsets."""
        return Span(file, self.position(start), self.position(end))

    def within(self, span: Span) -> str:
        """The text of a span of this file."""
        return self.text[self.offset(span.start) : self.offset(span.end)]


def to_units(line: str, column: int, encoding: Encoding) -> int:
    """A column in code points, from 1 → units before it, as an editor counts."""
    return _length(line[: column - 1], encoding)


def from_units(line: str, units: int, encoding: Encoding) -> int:
    """Units before a place → its column in code points, from 1. A unit inside a character is at its start."""
    if encoding == "utf-32":
        return min(units, len(line)) + 1
    counted = 0
    for index, character in enumerate(line):
        counted += _length(character, encoding)
        if counted > units:
            return index + 1
    return len(line) + 1


def normalized(text: str) -> str:
    """The text as the compiler reads it: line feeds, no byte-order mark, no half of a surrogate pair."""
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", plain)


def _length(text: str, encoding: Encoding) -> int:
    if encoding == "utf-32":
        return len(text)
    if encoding == "utf-8":
        return len(text.encode("utf-8", "replace"))
    return len(text) + sum(character > "\uffff" for character in text)
