"""Finding the comments of a file; the parsers themselves skip them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from priorlang.diagnostics.span import Position, Span
from priorlang.syntax import tree as t
from priorlang.syntax.source import SourceFile

_COMMENT_OR_QUOTED = re.compile(r'"[^"\n]*"|#[^\n]*')


def comments_of(source: SourceFile) -> tuple[t.Comment, ...]:
    """Every `# …` of a DSL file outside quotes, in order, with its place."""
    if "#" not in source.text:
        return ()
    return comments_at(source, _places(source.text))


def comments_at(source: SourceFile, places: Iterable[tuple[int, int]]) -> tuple[t.Comment, ...]:
    """The comments of a file of either form that begin at these lines and columns, in order."""
    lines = source.text.split("\n")
    found = list(places)
    alone = {line for line, column in found if not lines[line - 1][: column - 1].strip()}
    depth = _depths(lines, alone)
    comments = []
    for line, column in found:
        text = lines[line - 1][column - 1 :]
        span = Span(source.name, Position(line, column), Position(line, column + len(text)))
        comments.append(t.Comment(text.rstrip(), span, line in alone and column - 1 > depth[line]))
    return tuple(comments)


def _places(text: str) -> Iterator[tuple[int, int]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if "#" in line:
            for found in _COMMENT_OR_QUOTED.finditer(line):
                if found[0].startswith("#"):
                    yield number, found.start() + 1


def _depths(lines: list[str], alone: set[int]) -> dict[int, int]:
    """For each line that is a comment and no more, how far the next line of code is indented."""
    depths, depth = {}, 0
    for number in range(len(lines), 0, -1):
        line = lines[number - 1]
        if number in alone:
            depths[number] = depth
        elif line.strip():
            depth = len(line) - len(line.lstrip())
    return depths
