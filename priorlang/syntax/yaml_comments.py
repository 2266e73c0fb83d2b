"""Finding the comments of a YAML file: PyYAML drops them, so they are what its tokens leave over."""

from __future__ import annotations

import re

from priorlang.diagnostics.span import Position, Span
from priorlang.syntax import tree as t
from priorlang.syntax.source import SourceFile

_COMMENT = re.compile(r"(?:(?<=\s)|^)#[^\n]*", re.MULTILINE)


def yaml_comments_of(source: SourceFile) -> tuple[t.Comment, ...]:
    """Every `# …` outside scalars, in order. The text must be YAML that can be scanned."""
    if "#" not in source.text:
        return ()
    scalars = _scalar_ranges(source.text)
    comments = []
    index = 0
    for found in _COMMENT.finditer(source.text):
        while index < len(scalars) and scalars[index][1] <= found.start():
            index += 1
        if index < len(scalars) and scalars[index][0] <= found.start():
            continue
        comments.append(t.Comment(found[0].rstrip(), _span(source, found.start(), found.end())))
    return tuple(comments)


def _scalar_ranges(text: str) -> list[tuple[int, int]]:
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    tokens = yaml.scan(text, Loader=loader)
    return [
        (token.start_mark.index, token.end_mark.index)
        for token in tokens
        if isinstance(token, yaml.ScalarToken)
    ]


def _span(source: SourceFile, start: int, end: int) -> Span:
    line = source.text.count("\n", 0, start) + 1
    column = start - (source.text.rfind("\n", 0, start) + 1) + 1
    return Span(source.name, Position(line, column), Position(line, column + end - start))
