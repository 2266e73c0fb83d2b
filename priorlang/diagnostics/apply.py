"""Applying fixes to text."""

from __future__ import annotations

from collections.abc import Iterable

from priorlang.diagnostics.finding import Edit, Finding
from priorlang.diagnostics.span import Position


def apply_fixes(file: str, text: str, findings: Iterable[Finding]) -> tuple[str, int]:
    """Apply the automatic fixes of findings to one file.

    A fix is applied whole or not at all: one that touches another file, or overlaps a fix before it, waits.

    Returns:
        The new text and the number of fixes applied.
    """
    offsets = _line_offsets(text)
    chosen: list[tuple[int, int, str]] = []
    count = 0
    for finding in findings:
        fix = finding.fix
        if fix is None or not fix.is_safe:
            continue
        if any(edit.span.file != file for edit in fix.edits):
            continue
        places = [_range(edit, offsets) for edit in fix.edits]
        if any(_overlap(place, taken) for place in places for taken in chosen):
            continue
        chosen.extend(places)
        count += 1
    for start, end, replacement in sorted(chosen, reverse=True):
        text = text[:start] + replacement + text[end:]
    return text, count


def _range(edit: Edit, offsets: list[int]) -> tuple[int, int, str]:
    return _offset(edit.span.start, offsets), _offset(edit.span.end, offsets), edit.text


def _overlap(first: tuple[int, int, str], second: tuple[int, int, str]) -> bool:
    """Whether two edits touch. Two insertions at one place do: their order would be arbitrary."""
    return first[0] <= second[1] and second[0] <= first[1]


def _offset(position: Position, offsets: list[int]) -> int:
    return offsets[min(position.line, len(offsets)) - 1] + position.column - 1


def _line_offsets(text: str) -> list[int]:
    offsets = [0]
    for line in text.split("\n"):
        offsets.append(offsets[-1] + len(line) + 1)
    return offsets
