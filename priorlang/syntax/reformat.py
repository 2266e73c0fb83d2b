"""Canonical text of a file in either form, verified: what is printed says what was read."""

from __future__ import annotations

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import Span, whole_file
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

    Every comment is kept. The text is read back before it is given out: it must have the same tree and
    the same comments.

    Raises:
        PriorError: the file cannot be read whole, or says something that the other form cannot.
    """
    document, findings = parse(source)
    if findings:
        raise PriorError(findings)
    result = SourceFile(target, "")
    text = print_yaml(document) if result.is_yaml else print_dsl(document)
    back, problems = parse(SourceFile(target, text))
    if problems or not same_program(document, back):
        raise PriorError([_unprintable(source, document, problems)])
    return text


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
    seen: set[tuple[object, ...]] = set()
    for statement in document.statements:
        name = getattr(statement, "name", None)
        kind = getattr(statement, "kind", type(statement).__name__)
        single = isinstance(statement, t.Default | t.Schedule)
        key: tuple[object, ...] = (kind, name.text if isinstance(name, t.Name) else "")
        if (single or isinstance(name, t.Name)) and key in seen:
            return statement.span
        seen.add(key)
        if isinstance(statement, t.Model):
            for setting in statement.settings:
                if ("setting", setting.key.text) in seen:
                    return setting.span
                seen.add(("setting", setting.key.text))
        if isinstance(statement, t.Rule) and statement.selector is not None:
            names = [term.attribute.text for term in statement.selector.terms]
            if len(set(names)) < len(names):
                return statement.selector.span
    return None
