"""Canonical text of a file in either form, verified: what is printed says what was read."""

from __future__ import annotations

import os
from collections.abc import Iterator

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import Span, whole_file
from priorlang.records import replace
from priorlang.syntax import parse
from priorlang.syntax import tree as t
from priorlang.syntax.canonical import canonical
from priorlang.syntax.print_dsl import print_dsl
from priorlang.syntax.print_yaml import print_yaml
from priorlang.syntax.source import SourceFile


def formatted(source: SourceFile) -> str:
    """The canonical text of a file, in its own form.

    Raises:
        PriorError: the file cannot be read whole.
    """
    return rewritten(source, source.name)


def rewritten(source: SourceFile, target: str) -> str:
    """The canonical text of a file in the form that the ending of `target` names.

    Every comment is kept, and imports lead from the folder of `target` to the files that they led to. The text is
    read back before it is given out: it must have the same tree and the same comments.

    Raises:
        PriorError: the file cannot be read whole, or says something that the other form cannot.
    """
    document, findings = parse(source)
    if findings:
        raise PriorError(findings)
    document = _moved(document, os.path.dirname(source.name), os.path.dirname(target))
    result = SourceFile(target, "")
    text = print_yaml(document) if result.is_yaml else print_dsl(document)
    back, problems = parse(SourceFile(target, text))
    if problems or not same_program(document, back):
        raise PriorError([_unprintable(source, document, problems)])
    return text


def _moved(document: t.Document, here: str, there: str) -> t.Document:
    """The document with its relative imports written as seen from another folder."""
    if os.path.realpath(here) == os.path.realpath(there):
        return document
    moved = (_seen_from(there, here, s) if isinstance(s, t.Import) else s for s in document.statements)
    return replace(document, statements=tuple(moved))


def _seen_from(there: str, here: str, statement: t.Import) -> t.Import:
    written = statement.path.text
    if not written or "\0" in written or os.path.isabs(written):
        return statement
    target = os.path.realpath(os.path.join(here, written))
    path = os.path.relpath(target, os.path.realpath(there)).replace(os.sep, "/")
    return replace(statement, path=replace(statement.path, text=path))


def same_program(first: t.Document, second: t.Document) -> bool:
    """Whether two documents say the same with the same comments, order and spacing aside."""
    if canonical(first) != canonical(second):
        return False
    return sorted(c.text for c in first.comments) == sorted(c.text for c in second.comments)


def _unprintable(source: SourceFile, document: t.Document, problems: list[Finding]) -> Finding:
    """Why a file cannot be written in the other form: a name is declared twice, as a rule."""
    twice = _declared_twice(document)
    if twice is not None:
        message = "this is declared twice, so it cannot be written without losing one of the two"
        return Finding("duplicate-name", Severity.ERROR, message, twice)
    reason = f": {problems[0].message}" if problems else ""
    message = f"the printed text would not say the same{reason}; nothing was written. Please report this file"
    return Finding("internal-error", Severity.ERROR, message, whole_file(source.name))


def _declared_twice(document: t.Document) -> Span | None:
    """The first thing that stands a second time where a YAML mapping has room for one."""
    seen: set[tuple[object, ...]] = set()
    for key, span in _keys(document):
        if key in seen:
            return span
        seen.add(key)
    return None


def _keys(document: t.Document) -> Iterator[tuple[tuple[object, ...], Span]]:
    """What the YAML form makes a key of, with the mapping that it is a key of."""
    for number, statement in enumerate(document.statements):
        name = getattr(statement, "name", None)
        kind = getattr(statement, "kind", type(statement).__name__)
        if isinstance(name, t.Name) or isinstance(statement, t.Default | t.Schedule):
            yield (kind, name), statement.span
        if isinstance(statement, t.Model):
            yield from ((("setting", setting.key), setting.span) for setting in statement.settings)
        elif isinstance(statement, t.Schedule):
            yield from (((number, p.place, p.percent), p.span) for p in statement.points)
        elif isinstance(statement, t.Rule | t.Default):
            yield from (((number, *key), span) for key, span in _clause_keys(statement))


def _clause_keys(statement: t.Rule | t.Default) -> Iterator[tuple[tuple[object, ...], Span]]:
    if isinstance(statement, t.Rule) and statement.selector is not None:
        yield from ((("term", term.attribute), term.span) for term in statement.selector.terms)
    for effect in statement.effects:
        if isinstance(effect, t.Base | t.Weight | t.Unshaped):
            yield (type(effect),), effect.span
        if isinstance(effect, t.Base):
            yield from ((("share", share.experts), share.span) for share in effect.shares)
