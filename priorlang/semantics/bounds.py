"""How large a program may be, and how many of its mistakes are told."""

from __future__ import annotations

from priorlang.diagnostics.finding import Finding, Severity
from priorlang.semantics.imports import Program
from priorlang.syntax import tree as t

MAXIMUM_MISTAKES = 100
"""Of names and values; a program with more is read up to there."""
MAXIMUM_STATEMENTS = 10_000
MAXIMUM_CLAUSES = 1_000
"""Clauses of one rule, and members of one `overrides`."""
MAXIMUM_ATTRIBUTES = 32
MAXIMUM_SWEEPING = 100
"""Rules that say `overrides all`: each of them is held against every rule."""


class TooLargeError(Exception):
    """A program that is not looked at any further; carries the findings so far."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        super().__init__()


class Mistakes(list[Finding]):
    """Findings, one by one, up to a number. The one after that ends the reading of the program."""

    def append(self, finding: Finding) -> None:
        """Add a finding. Raises TooLargeError where there are too many."""
        if len(self) >= MAXIMUM_MISTAKES:
            message = f"{MAXIMUM_MISTAKES} mistakes are told; this one and what follows was not looked at"
            super().append(Finding(finding.name, Severity.ERROR, message, finding.span))
            raise TooLargeError(self)
        super().append(finding)


def check_bounds(program: Program) -> None:
    """Refuse a program that no check could go through.

    Raises:
        TooLargeError: it has too many statements or attributes, or a rule has too many clauses.
    """
    statements = [statement for file in program.files.values() for statement in file.document.statements]
    if len(statements) > MAXIMUM_STATEMENTS:
        message = f"{len(statements):,} statements; a prior has at most {MAXIMUM_STATEMENTS:,}"
        raise _too_large(message, statements[MAXIMUM_STATEMENTS])
    sweeping = 0
    attributes = [statement for statement in statements if isinstance(statement, t.Attribute)]
    if len({attribute.name.text for attribute in attributes}) > MAXIMUM_ATTRIBUTES:
        message = f"a prior has at most {MAXIMUM_ATTRIBUTES} attributes"
        raise _too_large(message, attributes[MAXIMUM_ATTRIBUTES])
    for statement in statements:
        if not isinstance(statement, t.Rule):
            continue
        overrides = statement.overrides
        clauses = len(statement.effects) + (len(overrides.rules) if overrides else 0)
        if clauses > MAXIMUM_CLAUSES:
            raise _too_large(f"{clauses:,} clauses; a rule has at most {MAXIMUM_CLAUSES:,}", statement)
        sweeping += bool(overrides and overrides.everything)
        if sweeping > MAXIMUM_SWEEPING:
            message = f"more than {MAXIMUM_SWEEPING} rules say `overrides all`; name what they override"
            raise _too_large(message, statement)


def _too_large(message: str, statement: t.Statement) -> TooLargeError:
    return TooLargeError([Finding("too-large", Severity.ERROR, message, statement.span)])
