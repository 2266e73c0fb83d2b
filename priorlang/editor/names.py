"""Where the name under the cursor is declared and used, across the files of its program."""

from __future__ import annotations

import os
from collections.abc import Iterable

from priorlang.diagnostics.span import Position, Span, whole_file
from priorlang.editor.occurrences import Occurrence, Symbol, occurrences
from priorlang.editor.slots import DECLARED
from priorlang.editor.workspace import Workspace
from priorlang.syntax.source import SourceFile


def name_at(workspace: Workspace, path: str, place: Position) -> Occurrence | None:
    """The name under a cursor, None where there is none."""
    found = [item for item in occurrences(workspace.source(path)) if item.holds(place)]
    # Between two names that touch, as in `a|b`, the cursor is on the one it stands before.
    return found[-1] if found else None


def definitions(workspace: Workspace, path: str, place: Position) -> list[Span]:
    """Where the name under a cursor is declared; of an import, the file."""
    found = name_at(workspace, path, place)
    if found is None:
        return []
    if found.symbol.kind == "file":
        target = os.path.join(os.path.dirname(path), found.symbol.name)
        return [whole_file(os.path.normpath(target))] if os.path.isfile(target) else []
    return declarations(workspace.names(path), found.symbol)


def references(
    workspace: Workspace, path: str, place: Position, *, with_declaration: bool = True
) -> list[Occurrence]:
    """Every use of the name under a cursor, in the programs that share it."""
    found = name_at(workspace, path, place)
    if found is None:
        return []
    return [
        item
        for source in shared_files(workspace, path, found.symbol)
        for item in occurrences(source)
        if item.symbol == found.symbol and (with_declaration or not item.declares)
    ]


def declarations(names: Iterable[Occurrence], symbol: Symbol) -> list[Span]:
    """Where a symbol is declared; a restated parameter is declared in several files."""
    return [item.span for item in names if item.declares and item.symbol == symbol]


def shared_files(workspace: Workspace, path: str, symbol: Symbol) -> list[SourceFile]:
    """The files in which a symbol of this file means the same.

    They are the file's own program, and the programs of all files that stand on a file that declares it.
    """
    anchors = [path]
    if symbol.kind in DECLARED:
        anchors += [span.file for span in declarations(workspace.names(path), symbol)]
    found: dict[str, SourceFile] = {}
    for anchor in dict.fromkeys(anchors):
        for program in workspace.programs_with(anchor):
            for source in program:
                found.setdefault(os.path.realpath(source.name), source)
    return list(found.values())
