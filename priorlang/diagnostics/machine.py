"""Findings for programs: the JSON of `--format json`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from priorlang.diagnostics.finding import Finding, Severity
from priorlang.diagnostics.span import Position, Span


def findings_json(files: Sequence[str], findings: Iterable[Finding]) -> dict[str, Any]:
    """The document that `validate --format json` prints."""
    listed = list(findings)
    counts = {severity: sum(f.severity is severity for f in listed) for severity in Severity}
    return {
        "version": 1,
        "files": list(files),
        "findings": [finding_json(finding) for finding in listed],
        "summary": {
            "errors": counts[Severity.ERROR],
            "warnings": counts[Severity.WARNING],
            "infos": counts[Severity.INFO],
        },
    }


def finding_json(finding: Finding) -> dict[str, Any]:
    """One finding."""
    fix = finding.fix
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity.value,
        "message": finding.message,
        "span": span_json(finding.span),
        "related": [{"message": r.message, "span": span_json(r.span)} for r in finding.related],
        "witness": dict(finding.witness) if finding.witness is not None else None,
        "fix": None
        if fix is None
        else {
            "message": fix.message,
            "edits": [{"span": span_json(edit.span), "text": edit.text} for edit in fix.edits],
            "automatic": fix.is_safe,
        },
    }


def span_json(span: Span) -> dict[str, Any]:
    """A place: lines and columns count from 1, the end is exclusive."""
    return {"file": span.file, "start": _position(span.start), "end": _position(span.end)}


def _position(position: Position) -> dict[str, int]:
    return {"line": position.line, "column": position.column}
