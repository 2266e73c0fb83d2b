"""Places in source files."""

from __future__ import annotations

from typing import NamedTuple


class Position(NamedTuple):
    """A place between two characters: line and column count from 1, columns in Unicode code points."""

    line: int
    column: int


class Span(NamedTuple):
    """A stretch of one file; `end` is exclusive."""

    file: str
    start: Position
    end: Position

    def to(self, other: Span) -> Span:
        """The stretch from the start of this span to the end of `other`."""
        return Span(self.file, self.start, other.end)

    def __str__(self) -> str:
        return f"{self.file}:{self.start.line}:{self.start.column}"


def whole_file(file: str) -> Span:
    """The span that stands for a file as a whole: its very first place."""
    return Span(file, Position(1, 1), Position(1, 1))
