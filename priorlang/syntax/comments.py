"""Finding the comments of a DSL file; the parser itself skips them."""

from __future__ import annotations

import re

from priorlang.diagnostics.span import Position, Span
from priorlang.syntax import tree as t
from priorlang.syntax.source import SourceFile

_COMMENT_OR_QUOTED = re.compile(r'"[^"\n]*"|#[^\n]*')


def comments_of(source: SourceFile) -> tuple[t.Comment, ...]:
    """Every `# …` outside quotes, in order, with its place."""
    comments = []
    for number, line in enumerate(source.text.split("\n"), start=1):
        if "#" not in line:
            continue
        for found in _COMMENT_OR_QUOTED.finditer(line):
            if found[0].startswith("#"):
                start, end = found.start() + 1, found.end() + 1
                span = Span(source.name, Position(number, start), Position(number, end))
                comments.append(t.Comment(found[0].rstrip(), span))
    return tuple(comments)
