"""Edits of a text: making them, and finding the one that makes one text of another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from priorlang.diagnostics.finding import Edit
from priorlang.editor.places import Lines


def applied(text: str, edits: Iterable[Edit]) -> str:
    """A text with edits made; they do not overlap."""
    lines = Lines(text)
    for edit in sorted(edits, key=lambda item: item.span, reverse=True):
        text = text[: lines.offset(edit.span.start)] + edit.text + text[lines.offset(edit.span.end) :]
    return text


def replacement(before: str, after: str, file: str) -> list[Edit]:
    """The edit that turns one text into another; the lines that are the same at both ends stay."""
    if before == after:
        return []
    old, new = _lines(before), _lines(after)
    head = _alike(old, new)
    tail = _alike(old[: head - 1 if head else None : -1], new[: head - 1 if head else None : -1])
    start, end = sum(map(len, old[:head])), sum(map(len, old[: len(old) - tail]))
    return [Edit(Lines(before).span(file, start, end), "".join(new[head : len(new) - tail]))]


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _alike(first: Sequence[str], second: Sequence[str]) -> int:
    """How many lines two lists share from the start."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))
