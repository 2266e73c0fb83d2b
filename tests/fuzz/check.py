"""What must hold for any text at all: the one property that every fuzzer here tests."""

from __future__ import annotations

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.phases import Prior
from priorlang.syntax.reformat import formatted, rewritten
from priorlang.syntax.source import SourceFile


def check(name: str, text: str) -> str:
    """Put one text through the compiler.

    It must end without an exception, every finding must lie in the text, and a file without errors must
    print, in both forms, as a file that means the same.

    Returns:
        `error`, `clean` or `unread`, for the count.

    Raises:
        AssertionError: one of that does not hold.
    """
    source = SourceFile(name, text)
    prior = Prior(source)
    findings = prior.findings
    _check_places(text, name, findings)
    if any(finding.severity is Severity.ERROR for finding in findings):
        if any(finding.name == "syntax-error" for finding in findings):
            return "unread"
        _check_printing(source)
        return "error"
    meaning = prior.table.header.normal_form
    for target in ("fuzz.prior", "fuzz.yaml"):
        printed = rewritten(source, target)
        again = Prior(SourceFile(target, printed))
        assert again.table.header.normal_form == meaning, f"{target} means something else:\n{printed}"
        assert formatted(again.source) == printed, f"{target} is not a fixed point:\n{printed}"
    return "clean"


def _check_printing(source: SourceFile) -> None:
    """A file with errors of meaning may still be laid out; if so, to a fixed point."""
    try:
        printed = formatted(source)
    except PriorError as refused:
        internal = [finding for finding in refused.findings if finding.name == "internal-error"]
        if internal:
            raise
        return
    assert formatted(SourceFile(source.name, printed)) == printed


def _check_places(text: str, name: str, findings: tuple[Finding, ...]) -> None:
    lines = text.split("\n")
    for finding in findings:
        span = finding.span
        if span.file != name:
            continue
        assert 1 <= span.start.line <= len(lines) + 1, finding
        assert span.start.column >= 1, finding
        assert (span.start.line, span.start.column) <= (span.end.line, span.end.column), finding
        if span.start.line <= len(lines):
            assert span.start.column <= len(lines[span.start.line - 1]) + 2, finding
        assert finding.message, finding
        assert finding.code.startswith("PL"), finding
