"""Finding the comments of a YAML file: PyYAML drops them, so they are what its tokens leave over."""

from __future__ import annotations

import re
from collections.abc import Iterator

from priorlang.syntax import tree as t
from priorlang.syntax.comments import comments_at
from priorlang.syntax.source import LineTable, SourceFile

_COMMENT = re.compile(r"(?:(?<=\s)|^)#[^\n]*", re.MULTILINE)


def yaml_comments_of(source: SourceFile) -> tuple[t.Comment, ...]:
    """Every `# …` outside scalars, in order. The text must be YAML that can be scanned."""
    if "#" not in source.text:
        return ()
    scalars = _scalar_ranges(source.text)
    return comments_at(source, _places(source.text, scalars))


def _places(text: str, scalars: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    lines = LineTable(text)
    place = index = 0
    while (found := _COMMENT.search(text, place)) is not None:
        while index < len(scalars) and scalars[index][1] <= found.start():
            index += 1
        if index < len(scalars) and scalars[index][0] <= found.start():
            # A sign in a scalar begins nothing; what follows the scalar on its line may be a comment.
            place = scalars[index][1]
            continue
        place = found.end()
        at = lines.at(found.start())
        yield at.line, at.column


def _scalar_ranges(text: str) -> list[tuple[int, int]]:
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    tokens = yaml.scan(text, Loader=loader)
    return [
        (token.start_mark.index, token.end_mark.index)
        for token in tokens
        if isinstance(token, yaml.ScalarToken)
    ]
