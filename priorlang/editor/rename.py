"""Renaming, through every file that knows the name; checked on the changed texts before it is given out."""

from __future__ import annotations

import re
from collections.abc import Iterable

from priorlang.diagnostics.finding import Edit
from priorlang.diagnostics.span import Position
from priorlang.editor.edits import applied
from priorlang.editor.names import name_at, shared_files
from priorlang.editor.occurrences import Occurrence, Symbol, occurrences
from priorlang.editor.places import Lines
from priorlang.editor.slots import DECLARED
from priorlang.editor.workspace import Workspace
from priorlang.syntax import parse
from priorlang.syntax.phrases import quoted
from priorlang.syntax.print_yaml import scalar
from priorlang.syntax.source import SourceFile

_PARAMETER = re.compile(r"[A-Za-z_][\w-]*")


class RefusedError(Exception):
    """A name that cannot be given; the message says why."""


def renamable(workspace: Workspace, path: str, place: Position) -> Occurrence:
    """The name under a cursor. Raises RefusedError where nothing stands that could be renamed."""
    found = name_at(workspace, path, place)
    if found is None or found.symbol.kind not in DECLARED:
        raise RefusedError("only rules, parameters, groups, attributes and members can be renamed")
    if not any(item.declares and item.symbol == found.symbol for item in workspace.names(path)):
        raise RefusedError(f"nothing declares `{found.symbol.name}`")
    return found


def rename(workspace: Workspace, path: str, place: Position, text: str) -> dict[str, list[Edit]]:
    """The edits, by file, that give the name under a cursor another.

    Args:
        workspace: the open texts.
        path: the file of the cursor.
        place: the cursor.
        text: the new name; quotes around it and the `$` of a parameter may be left out.

    Raises:
        RefusedError: the name cannot be given, or a file cannot be read whole.
    """
    old = renamable(workspace, path, place).symbol
    name = _new_name(old, text)
    new = Symbol(old.kind, name, old.owner)
    files = shared_files(workspace, path, old)
    _check_free(files, new)
    _check_readable(files)
    edits: dict[str, list[Edit]] = {}
    for source in files:
        here = [item for item in occurrences(source) if item.symbol == old]
        if here:
            edits[source.name] = [Edit(item.span, _written(source, item, name)) for item in here]
            _check_outcome(source, edits[source.name], old, new)
    return edits


def _new_name(old: Symbol, text: str) -> str:
    name = text.strip()
    if old.kind == "parameter":
        name = name.removeprefix("$")
        if not _PARAMETER.fullmatch(name):
            raise RefusedError("the name of a parameter takes letters, digits, `_` and `-`")
    elif len(name) > 1 and name[0] == name[-1] == '"':
        name = name[1:-1]
    if not name or '"' in name or "\n" in name:
        raise RefusedError("a name holds at least one character, no quotes and no line breaks")
    if name == old.name:
        raise RefusedError(f"it is called `{name}` already")
    if old.kind == "attribute" and name == "layer":
        raise RefusedError("`layer` is the decoder layer of a cell; give this attribute another name")
    return name


def _check_free(files: Iterable[SourceFile], new: Symbol) -> None:
    for source in files:
        for item in occurrences(source):
            if item.symbol == new:
                kind = f"a group of {new.kind}" if new.kind in {"experts", "layers"} else f"a {new.kind}"
                where = f"{source.name}:{item.span.start.line}"
                raise RefusedError(f"there is {kind} `{new.name}` already, in {where}")


def _check_readable(files: Iterable[SourceFile]) -> None:
    """A statement that cannot be read may hold the name, unseen."""
    for source in files:
        _, findings = parse(source)
        if findings:
            place = findings[0].span.start.line
            raise RefusedError(
                f"{source.name}:{place} cannot be read yet; mend it first: {findings[0].message}"
            )


def _check_outcome(source: SourceFile, edits: list[Edit], old: Symbol, new: Symbol) -> None:
    after = SourceFile(source.name, applied(source.text, edits))
    _, findings = parse(after)
    expected = [_renamed(item.symbol, old, new) for item in occurrences(source)]
    if findings or [item.symbol for item in occurrences(after)] != expected:
        raise RefusedError(
            f"`{new.name}` cannot be written everywhere in {source.name}; choose a plainer name"
        )


def _renamed(symbol: Symbol, old: Symbol, new: Symbol) -> Symbol:
    if symbol == old:
        return new
    if old.kind == "attribute" and symbol.kind == "member" and symbol.owner == old.name:
        return Symbol("member", symbol.name, new.name)
    return symbol


def _written(source: SourceFile, item: Occurrence, name: str) -> str:
    """The new name as it must be written at one place."""
    lines = Lines(source.text)
    before = lines.within(item.span)
    if item.symbol.kind == "parameter":
        if before.startswith("$"):
            return f"${name}"
        return scalar(name) if source.is_yaml else name
    if not source.is_yaml:
        return quoted(name)
    if not item.phrase:
        return scalar(name) if name != "all" else '"all"'
    if before.strip("\"'") != item.symbol.name:
        raise RefusedError(
            f"line {item.span.start.line} of {source.name} is written in a way that hides the name"
        )
    inside = quoted(name)
    line = lines.line(item.span.start.line)
    alone = inside != name and line[: item.span.start.column - 1].rstrip()[-1:] in {":", "{", ",", "-", ""}
    return f"'{inside}'" if alone else inside
