"""A `not` in an imported file takes in what a later file adds, though its author never saw it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from priorlang.diagnostics.finding import Finding, Fix, Related, Severity
from priorlang.diagnostics.span import Span
from priorlang.semantics.imports import Program
from priorlang.semantics.scope import Scope
from priorlang.semantics.spec import Negation


def widened_findings(program: Program, scope: Scope, negations: Sequence[Negation]) -> list[Finding]:
    """`widened-not`: extensions, of a vocabulary or of the model, that widen a `not` of an imported file."""
    findings: dict[tuple[Span, Span], Finding] = {}
    for negation in negations:
        for extension, what in _extensions(scope, negation):
            seen_by_author = {negation.file, *program.below(negation.file)}
            if extension.file in seen_by_author:
                continue
            where = f" in rule `{negation.rule}`" if negation.rule else ""
            message = f"{what} widens a `not` of an imported file{where}"
            related = (Related("this set now takes in more", negation.span),)
            fix = Fix("check that it is meant; if not, override the imported rule")
            finding = Finding("widened-not", Severity.WARNING, message, extension, related, fix=fix)
            findings[extension, negation.span] = finding
    return list(findings.values())


def _extensions(scope: Scope, negation: Negation) -> Iterator[tuple[Span, str]]:
    """What may have grown after the file of a negation was written."""
    if negation.kind == "members":
        for statement in scope.attributes.get(negation.attribute or "", ()):
            if statement.adds:
                yield statement.span, f"this extension of {negation.attribute}"
    else:
        setting = scope.settings.get(negation.kind)
        if setting is not None:
            yield setting.span, f"this number of {negation.kind}"
