"""What can be written at a place: keywords as the grammar has them, names as the program declares them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from priorlang.diagnostics.registry import REGISTRY
from priorlang.diagnostics.span import Position, Span
from priorlang.editor.expected import expected_after, keywords_among, spent_clauses
from priorlang.editor.glossary import KEYWORD_MEANINGS, MEASURE_MEANINGS, SETTING_MEANINGS
from priorlang.editor.occurrences import Occurrence, Symbol
from priorlang.editor.places import Lines
from priorlang.editor.slots import Kind, Role, Slots, roles_of
from priorlang.editor.words import Word, statements, words_of
from priorlang.editor.workspace import Workspace
from priorlang.editor.yaml_places import Phrase, place_in_yaml
from priorlang.syntax.phrases import quoted
from priorlang.syntax.print_yaml import scalar
from priorlang.syntax.source import SourceFile

_WORD_BEFORE = re.compile(r"(?<![\w$])(?:\$|\$?[A-Za-z_][\w-]*(?:[./][\w-]*)*)$")
_OPEN_QUOTE = re.compile(r'^(?:[^"#]|"[^"]*")*(?P<open>"[^"]*)$')
_COMMENTED = re.compile(r'^(?:[^"#]|"[^"]*")*#')
_COLON_FOLLOWS = re.compile(r"[\w-]*\s*:")
_TEXTS: dict[Kind, dict[str, str]] = {"setting": SETTING_MEANINGS, "measure": MEASURE_MEANINGS}


@dataclass(frozen=True, slots=True)
class Completion:
    """One thing that can be written: `text` in place of `span`."""

    label: str
    text: str
    span: Span
    kind: Kind | Literal["keyword"]
    detail: str = ""


def complete(workspace: Workspace, path: str, place: Position) -> list[Completion]:
    """Everything that can be written at a cursor; the editor picks by what is typed already."""
    source = workspace.source(path)
    return _in_yaml(workspace, source, place) if source.is_yaml else _in_dsl(workspace, source, place)


# --- the DSL -------------------------------------------------------------------------------------


def _in_dsl(workspace: Workspace, source: SourceFile, place: Position) -> list[Completion]:
    lines = Lines(source.text)
    line = lines.line(place.line)
    before, after = line[: place.column - 1], line[place.column - 1 :]
    if _COMMENTED.match(before):
        return []
    opened = _OPEN_QUOTE.match(before)
    typed = opened["open"] if opened else _typed(before)
    closing = 1 if opened and after.startswith('"') else 0
    start = Position(place.line, place.column - len(typed))
    span = Span(source.name, start, Position(place.line, place.column + closing))
    words = words_of(source.text[: lines.offset(start)])
    statement = list(statements(words))[-1:] or [[]]
    found = list(_after(workspace, source, statement[0], span, at_top=not words))
    if opened:
        return [_in_quotes(item) for item in found if item.kind not in {"keyword", "parameter", "measure"}]
    return found


def _after(
    workspace: Workspace, source: SourceFile, words: list[Word], span: Span, *, at_top: bool
) -> Iterator[Completion]:
    """What may follow the words of a statement."""
    expected, role = expected_after(words), _slot_after(words)
    declared = _declared_by(words)
    names = [item for item in _names_of(workspace, source, span) if item.symbol != declared]
    yield from _names_and_parameters(workspace, source, names, role, expected, span)
    spent = spent_clauses(words)
    for keyword in _keywords(expected, role, statements=True):
        if keyword in spent:
            continue
        if keyword != "priorlang":
            yield Completion(keyword, keyword, span, "keyword", KEYWORD_MEANINGS[keyword])
        elif at_top:
            yield Completion("priorlang 1", "priorlang 1\n", span, "keyword", KEYWORD_MEANINGS[keyword])


def _slot_after(words: Iterable[Word]) -> Role | None:
    slots = Slots()
    listed = list(words)
    for index, word in enumerate(listed):
        slots.take(word, listed[index + 1].kind if index + 1 < len(listed) else "")
    return slots.slot


def _declared_by(words: Iterable[Word]) -> Symbol | None:
    """The name that a statement declares, which it cannot mean itself."""
    found = next((item for item in roles_of(words) if item[1].declares), None)
    return Symbol(found[1].kind, found[0].name, found[1].owner) if found else None


def _keywords(expected: frozenset[str], role: Role | None, *, statements: bool) -> list[str]:
    """The keywords that fit, but for those that are names here and offered as such."""
    if role is None or role.kind not in _TEXTS:
        return keywords_among(expected, statements=statements)
    return [word for word in keywords_among(expected, statements=statements) if word not in _TEXTS[role.kind]]


# --- the YAML form -------------------------------------------------------------------------------


def _in_yaml(workspace: Workspace, source: SourceFile, place: Position) -> list[Completion]:
    line = Lines(source.text).line(place.line)
    found = place_in_yaml(source, place)
    typed = _typed(line[: place.column - 1])
    span = Span(source.name, Position(place.line, place.column - len(typed)), place)
    names = list(_names_of(workspace, source, span))
    if isinstance(found, Phrase):
        return list(_in_phrase(workspace, source, names, found, span))
    if found is None:
        return []
    sign = "" if _COLON_FOLLOWS.match(line[place.column - 1 :]) else found.sign
    meanings = {**KEYWORD_MEANINGS, **found.meanings}
    listed = [Completion(key, key + sign, span, "keyword", meanings.get(key, "")) for key in found.keys]
    for item in _fitting(workspace, source, names, found.role, span):
        listed.append(Completion(item.label, scalar(_plain(item)) + sign, span, item.kind, item.detail))
    return listed


def _in_phrase(
    workspace: Workspace, source: SourceFile, names: list[Occurrence], phrase: Phrase, span: Span
) -> Iterator[Completion]:
    """A leaf of the YAML form: a phrase of the DSL, read as if it stood in the statement it belongs to."""
    expected = expected_after(words_of(phrase.text), phrase.symbol)
    role = _slot_after(words_of(f"{phrase.statement} {phrase.text}"))
    for item in _names_and_parameters(workspace, source, names, role, expected, span):
        whole = item.text.startswith('"') and not phrase.text.strip() and not phrase.quoted
        yield Completion(item.label, f"'{item.text}'" if whole else item.text, span, item.kind, item.detail)
    for keyword in _keywords(expected, role, statements=False):
        yield Completion(keyword, keyword, span, "keyword", KEYWORD_MEANINGS[keyword])


# --- names ---------------------------------------------------------------------------------------


def _names_of(workspace: Workspace, source: SourceFile, span: Span) -> Iterator[Occurrence]:
    """The names of the program, without the one that is being written."""
    for item in workspace.names(source.name):
        if not (item.span.file == source.name and item.span.start == span.start):
            yield item


def _names_and_parameters(
    workspace: Workspace,
    source: SourceFile,
    names: list[Occurrence],
    role: Role | None,
    expected: frozenset[str],
    span: Span,
) -> Iterator[Completion]:
    """The names and parameters that fit both the grammar and what the place means."""
    if expected & {"NAME", "STRING"}:
        yield from _fitting(workspace, source, names, role, span)
    if "REFERENCE" in expected and (role is None or role.kind != "member"):
        yield from _fitting(workspace, source, names, Role("parameter"), span)


def _fitting(
    workspace: Workspace, source: SourceFile, names: Iterable[Occurrence], role: Role | None, span: Span
) -> Iterator[Completion]:
    """The names that may stand where this role is asked for."""
    if role is None or (role.declares and role.kind != "attribute"):
        return
    if role.kind in _TEXTS:
        for word, meaning in _TEXTS[role.kind].items():
            yield Completion(word, word, span, role.kind, meaning)
    elif role.kind == "finding":
        for entry in REGISTRY.values():
            if entry.heuristic:
                yield Completion(entry.name, entry.name, span, role.kind, entry.meaning)
    elif role.kind == "file":
        for file in _files_beside(source.name):
            yield Completion(file, f'"{file}"', span, role.kind)
    else:
        known = {
            item.symbol.name: item
            for item in names
            if item.declares and item.symbol.kind == role.kind and item.symbol.owner == role.owner
        }
        for name, item in known.items():
            sign = f"${name}" if role.kind == "parameter" else quoted(name)
            yield Completion(sign, sign, span, role.kind, _statement_of(workspace, item))


def _statement_of(workspace: Workspace, item: Occurrence) -> str:
    """The line that declares a name."""
    line = workspace.lines(item.span.file).line(item.span.start.line).strip()
    return line if len(line) <= 80 else f"{line[:79]}…"


def _files_beside(path: str) -> list[str]:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return []
    own = os.path.basename(path)
    return sorted(
        name for name in os.listdir(folder) if name.endswith((".prior", ".yaml", ".yml")) and name != own
    )


def _typed(before: str) -> str:
    """The part of a word that stands before the cursor."""
    found = _WORD_BEFORE.search(before)
    return found[0] if found else ""


def _plain(item: Completion) -> str:
    return item.text.strip('"')


def _in_quotes(item: Completion) -> Completion:
    return Completion(item.label, f'"{_plain(item)}"', item.span, item.kind, item.detail)
