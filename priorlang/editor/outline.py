"""The statements of a file as an outline: what it declares, and the clauses of each rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from priorlang.diagnostics.span import Span
from priorlang.syntax import parse
from priorlang.syntax import tree as t
from priorlang.syntax.phrases import selector_text, set_text, value_text
from priorlang.syntax.source import SourceFile

EntryKind = Literal[
    "import", "model", "attribute", "member", "group", "parameter", "default", "rule", "schedule"
]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an outline. `name_span` lies within `span`."""

    name: str
    kind: EntryKind
    detail: str
    span: Span
    name_span: Span
    children: tuple[Entry, ...] = ()


def outline(source: SourceFile) -> list[Entry]:
    """The outline of every statement that can be read; tests and allowances are left out."""
    document, _ = parse(source)
    return [entry for statement in document.statements if (entry := _entry(statement)) is not None]


def _entry(statement: t.Statement) -> Entry | None:
    span = statement.span
    match statement:
        case t.Import():
            return Entry(statement.path.text or "import", "import", "import", span, statement.path.span)
        case t.Model():
            detail = "  ".join(f"{item.key.text} = {set_text(item.value)}" for item in statement.settings)
            return Entry("model", "model", detail, span, span)
        case t.Attribute():
            members = tuple(_member(member) for member in statement.members)
            detail = "adds" if statement.adds else ""
            return Entry(
                statement.name.text or "attribute", "attribute", detail, span, statement.name.span, members
            )
        case t.Group():
            detail = f"{statement.kind} {set_text(statement.value)}"
            return Entry(statement.name.text or statement.kind, "group", detail, span, statement.name.span)
        case t.Parameter():
            detail = value_text(statement.value)
            return Entry(f"${statement.name.text}", "parameter", detail, span, statement.name.span)
        case t.Default():
            return Entry("default", "default", "", span, span)
        case t.Rule():
            where = selector_text(statement.selector) if statement.selector else ""
            return Entry(statement.name.text or "rule", "rule", where, span, statement.name.span)
        case t.Schedule():
            return Entry("schedule", "schedule", "", span, span)
    return None


def _member(member: t.Member) -> Entry:
    children = tuple(_member(child) for child in member.children)
    return Entry(member.name.text or "member", "member", "", member.span, member.name.span, children)
