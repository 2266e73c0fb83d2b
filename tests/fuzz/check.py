"""What must hold for any text at all: the one property that every fuzzer here tests."""

from __future__ import annotations

import warnings

from priorlang.diagnostics.apply import apply_fixes
from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.human import render
from priorlang.phases import Prior
from priorlang.syntax.reformat import formatted, rewritten
from priorlang.syntax.source import SourceFile
from priorlang.table.numbering import numbering_of


def check(name: str, text: str) -> str:
    """Put one text through the compiler.

    It must end without an exception or a Python warning; every finding must lie in the text and can be shown; what its fixes
    make of the text must end too; and a file without errors must print, in both forms, as a file that asks
    the same of every cell.

    Returns:
        `error`, `clean` or `unread`, for the count.

    Raises:
        AssertionError: one of that does not hold.
        Warning: Python or NumPy warned, as of an overflow that nothing has looked at.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return _checked(SourceFile(name, text))


def _checked(source: SourceFile) -> str:
    name, text = source.name, source.text
    prior = Prior(source)
    findings = prior.findings
    _check_places(text, name, findings)
    render(findings, {name: text})
    fixed, count = apply_fixes(name, text, findings)
    assert not count or Prior(SourceFile(name, fixed)).findings is not None
    if any(finding.severity is Severity.ERROR for finding in findings):
        if any(finding.name == "syntax-error" for finding in findings):
            return "unread"
        _check_printing(source)
        return "error"
    meaning = _meaning(prior)
    for target in ("fuzz.prior", "fuzz.yaml"):
        printed = _printed(source, target)
        if printed is None:
            continue
        again = Prior(SourceFile(target, printed))
        assert _meaning(again) == meaning, f"{target} means something else:\n{printed}"
        assert formatted(again.source) == printed, f"{target} is not a fixed point:\n{printed}"
    return "clean"


def _meaning(prior: Prior) -> object:
    """What a prior asks of every cell, exactly."""
    spec, cells = prior.spec, prior.cells
    assert cells is not None
    numbered = numbering_of(cells)
    model = spec.model
    return (
        (model.layers, model.experts, model.top_k, model.routed),
        [(attribute.name, attribute.leaves, dict(attribute.parents)) for attribute in spec.attributes],
        spec.schedule and (spec.schedule.points, spec.schedule.unit),
        numbered.row.tolist(),
        numbered.population.tolist(),
        numbered.priors,
    )


def _check_printing(source: SourceFile) -> None:
    """A file with errors of meaning may still be laid out, in both forms; if so, to a fixed point."""
    for target in ("fuzz.prior", "fuzz.yaml"):
        printed = _printed(source, target)
        if printed is not None:
            assert formatted(SourceFile(target, printed)) == printed, (
                f"{target} is not a fixed point:\n{printed}"
            )


def _printed(source: SourceFile, target: str) -> str | None:
    """A file in the form of `target`; None where that form cannot say it, as two declarations of one name."""
    try:
        return rewritten(source, target)
    except PriorError as refused:
        if any(finding.name == "internal-error" for finding in refused.findings):
            raise
        return None


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
