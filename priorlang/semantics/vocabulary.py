"""Attributes: the members of each, from the file that declares it and the files that extend it."""

from __future__ import annotations

from priorlang.diagnostics.finding import Finding, Related, Severity
from priorlang.semantics.scope import Scope
from priorlang.semantics.spec import AttributeSpec
from priorlang.semantics.values import unknown_name
from priorlang.syntax import tree as t


def attributes_of(scope: Scope, findings: list[Finding]) -> tuple[AttributeSpec, ...]:
    """Every attribute, in order of declaration, with its leaves in order of declaration."""
    declared = {
        name: statements
        for name, statements in scope.attributes.items()
        if any(not statement.adds for statement in statements)
    }
    for name, statements in scope.attributes.items():
        if name not in declared and not scope.is_broken("attribute", name):
            finding = unknown_name("attribute", name, declared, statements[0].name.span)
            findings.append(finding)
    if "layer" in declared:
        name_span = declared["layer"][0].name.span
        message = "`layer` is the decoder layer of a cell; give this attribute another name"
        findings.append(Finding("duplicate-name", Severity.ERROR, message, name_span))
    return tuple(_attribute(statements, findings) for statements in declared.values())


def _attribute(statements: list[t.Attribute], findings: list[Finding]) -> AttributeSpec:
    first = next(statement for statement in statements if not statement.adds)
    ordered = [first, *(statement for statement in statements if statement.adds)]
    builder = _Members(findings)
    for statement in ordered:
        for member in statement.members:
            builder.add(member)
    return AttributeSpec(first.name.text, tuple(builder.leaves), builder.parents, first.name.span)


class _Members:
    """Numbers leaves in reading order and collects the leaves below each parent."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        self.leaves: list[str] = []
        self.parents: dict[str, tuple[int, ...]] = {}
        self.seen: dict[str, t.Name] = {}

    def add(self, member: t.Member) -> tuple[int, ...]:
        name = member.name
        if name.text in self.seen:
            related = (Related("first listed here", self.seen[name.text].span),)
            message = f"member `{name.text}` is listed twice in one attribute"
            self.findings.append(Finding("duplicate-name", Severity.ERROR, message, name.span, related))
            return ()
        self.seen[name.text] = name
        if not member.children:
            self.leaves.append(name.text)
            return (len(self.leaves) - 1,)
        codes = tuple(code for child in member.children for code in self.add(child))
        self.parents[name.text] = codes
        return codes
