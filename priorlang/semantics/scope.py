"""Gathering the declarations of all files of a program, and who wins where two state the same.

A file may restate model settings, parameters, the default and the schedule of files it imports.
Everything else is declared once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from priorlang.diagnostics.finding import Finding, Related, Severity
from priorlang.diagnostics.span import Span
from priorlang.semantics.bounds import Mistakes
from priorlang.semantics.imports import Program
from priorlang.syntax import tree as t


class Scope:
    """What the files of a program declare. `broken` names are declared by statements nobody could read."""

    def __init__(self) -> None:
        self.settings: dict[str, t.Setting] = {}
        self.parameters: dict[str, t.Parameter] = {}
        self.default: t.Default | None = None
        self.schedule: t.Schedule | None = None
        self.groups: dict[tuple[str, str], t.Group] = {}
        self.attributes: dict[str, list[t.Attribute]] = {}
        self.rules: dict[str, t.Rule] = {}
        self.expects: list[t.Expect] = []
        self.allows: list[t.Allow] = []
        self.broken: set[tuple[str, str | None]] = set()

    def is_broken(self, keyword: str, name: str | None = None) -> bool:
        """Whether a statement that could not be read may have declared this."""
        return bool(self.broken & {(keyword, name), (keyword, None), ("", None)})


Restatable = t.Setting | t.Parameter | t.Default | t.Schedule


def gather(program: Program) -> tuple[Scope, list[Finding]]:
    """The declarations of a program, and what is declared twice."""
    scope, findings = Scope(), Mistakes()
    restatable: dict[tuple[str, str], list[Restatable]] = {}
    for name, file in program.files.items():
        for lost in file.document.broken:
            scope.broken.add((lost.keyword, lost.name))
        for statement in file.document.statements:
            _place(scope, restatable, statement, findings, is_root=name == program.root)
    for (kind, key), statements in restatable.items():
        winner = _winner(program, kind, key, statements, findings)
        if isinstance(winner, t.Setting):
            scope.settings[key] = winner
        elif isinstance(winner, t.Parameter):
            scope.parameters[key] = winner
        elif isinstance(winner, t.Default):
            scope.default = winner
        elif isinstance(winner, t.Schedule):
            scope.schedule = winner
    return scope, findings


def _place(
    scope: Scope,
    restatable: dict[tuple[str, str], list[Restatable]],
    statement: t.Statement,
    findings: list[Finding],
    *,
    is_root: bool,
) -> None:
    """Put one statement where it belongs."""
    findings.extend(_nameless(statement))
    if isinstance(statement, t.Model):
        for setting in statement.settings:
            restatable.setdefault(("model setting", setting.key.text), []).append(setting)
    elif isinstance(statement, t.Parameter):
        restatable.setdefault(("parameter", statement.name.text), []).append(statement)
    elif isinstance(statement, t.Default):
        restatable.setdefault(("default", ""), []).append(statement)
    elif isinstance(statement, t.Schedule):
        restatable.setdefault(("schedule", ""), []).append(statement)
    elif isinstance(statement, t.Attribute):
        _place_attribute(scope, statement, findings)
    elif isinstance(statement, t.Group):
        key = (statement.kind, statement.name.text)
        _once(scope.groups, key, statement, f"{statement.kind} group", statement.name, findings)
    elif isinstance(statement, t.Rule):
        _once(scope.rules, statement.name.text, statement, "rule", statement.name, findings)
    elif is_root and isinstance(statement, t.Expect):
        scope.expects.append(statement)
    elif is_root and isinstance(statement, t.Allow):
        scope.allows.append(statement)


def _nameless(statement: t.Statement) -> Iterator[Finding]:
    """What is declared under a name that nobody can see. A member is what data says, which may be nothing."""
    if isinstance(statement, t.Attribute | t.Group | t.Rule) and not statement.name.text.strip():
        kind = type(statement).__name__.lower()
        if isinstance(statement, t.Group):
            kind = f"group of {statement.kind}"
        message = f"this {kind} has an empty name; a name is a word, or any other text in double quotes"
        yield Finding("invalid-value", Severity.ERROR, message, statement.name.span)


def _place_attribute(scope: Scope, statement: t.Attribute, findings: list[Finding]) -> None:
    declared = scope.attributes.setdefault(statement.name.text, [])
    first = next((earlier for earlier in declared if not earlier.adds), None)
    if first is not None and not statement.adds:
        hint = "; to extend it, write `adds`"
        findings.append(_duplicate("attribute", statement.name, first.name.span, hint))
    else:
        declared.append(statement)


K = TypeVar("K")
D = TypeVar("D", t.Group, t.Rule)


def _once(known: dict[K, D], key: K, statement: D, kind: str, name: t.Name, findings: list[Finding]) -> None:
    if key in known:
        findings.append(_duplicate(kind, name, known[key].name.span))
    else:
        known[key] = statement


def _winner(
    program: Program,
    kind: str,
    key: str,
    statements: list[Restatable],
    findings: list[Finding],
) -> Restatable:
    """Of statements of the same thing, the one that no other file restates."""
    by_file: dict[str, Restatable] = {}
    for statement in statements:
        file = statement.span.file
        if file in by_file:
            what = f"{kind} `{key}`" if key else f"`{kind}`"
            related = (Related("first stated here", by_file[file].span),)
            message = f"{what} is stated twice in one file"
            findings.append(Finding("duplicate-name", Severity.ERROR, message, _place_of(statement), related))
        else:
            by_file[file] = statement
    restated = set().union(*(program.below(file) for file in by_file))
    standing = [statement for file, statement in by_file.items() if file not in restated]
    if len(standing) > 1:
        what = f"{kind} `{key}`" if key else f"the {kind}"
        related = (Related("and here", _place_of(standing[0])),)
        message = f"two imported files state {what}; restate it in {program.root} to choose"
        findings.append(Finding("duplicate-name", Severity.ERROR, message, _place_of(standing[1]), related))
    return standing[0]


def _place_of(statement: Restatable) -> Span:
    return statement.name.span if isinstance(statement, t.Parameter) else statement.span


def _duplicate(kind: str, name: t.Name, first: Span, hint: str = "") -> Finding:
    message = f"{kind} `{name.text}` is declared twice{hint}"
    related = (Related("first declared here", first),)
    return Finding("duplicate-name", Severity.ERROR, message, name.span, related)
