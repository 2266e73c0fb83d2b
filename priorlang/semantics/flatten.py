"""A program of several files → one file that asks for the same."""

from __future__ import annotations

from priorlang.records import replace
from priorlang.semantics.imports import Program
from priorlang.semantics.scope import gather
from priorlang.syntax import tree as t
from priorlang.syntax.print_dsl import print_dsl


def flattened(program: Program) -> str:
    """The DSL text of a program without its imports, in canonical layout.

    What a later file restates or extends is written as it holds in the end. Comments of the root file stay.
    The program must be free of errors.
    """
    root = program.files[program.root].document
    scope, _ = gather(program)
    statements: list[t.Statement] = []
    settings = tuple(scope.settings.values())
    if settings:
        own = (statement.span for statement in root.statements if isinstance(statement, t.Model))
        statements.append(t.Model(settings, next(own, settings[0].span)))
    for declared in scope.attributes.values():
        ordered = sorted(declared, key=lambda attribute: attribute.adds)
        members = tuple(member for attribute in ordered for member in attribute.members)
        statements.append(replace(ordered[0], adds=False, members=members))
    statements += [*scope.groups.values(), *scope.parameters.values()]
    statements += [part for part in (scope.default, scope.schedule) if part is not None]
    statements += [*scope.rules.values(), *scope.allows, *scope.expects]
    return print_dsl(replace(root, statements=tuple(statements)))
