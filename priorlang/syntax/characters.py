"""Characters that no prior needs and that tools disagree about: control characters, and hidden line ends."""

from __future__ import annotations

import re

from priorlang.diagnostics.finding import Edit, Finding, Fix, Severity
from priorlang.diagnostics.span import Position, Span
from priorlang.syntax.source import LineTable, SourceFile

_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")
_REPORTED = 5


def without_unwanted(source: SourceFile) -> tuple[SourceFile, list[Finding]]:
    """The source with spaces in place of unwanted characters, and a finding for the first few of them."""
    if not _UNWANTED.search(source.text):
        return source, []
    lines = LineTable(source.text)
    findings: list[Finding] = []
    for found in _UNWANTED.finditer(source.text):
        if len(findings) == _REPORTED:
            break
        start = lines.at(found.start())
        span = Span(source.name, start, Position(start.line, start.column + 1))
        message = f"the character U+{ord(found[0]):04X} has no place in a prior"
        fix = Fix("write a space", (Edit(span, " "),))
        findings.append(Finding("syntax-error", Severity.ERROR, message, span, fix=fix))
    return SourceFile(source.name, _UNWANTED.sub(" ", source.text)), findings
