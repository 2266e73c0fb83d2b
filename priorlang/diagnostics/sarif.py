"""Findings as SARIF 2.1.0, which code-scanning services read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from priorlang.diagnostics.finding import Finding, Fix, Severity
from priorlang.diagnostics.registry import REGISTRY
from priorlang.diagnostics.span import Span

_LEVEL = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def findings_sarif(findings: Iterable[Finding], version: str) -> dict[str, Any]:
    """The document that `validate --format sarif` prints.

    Args:
        findings: what was found.
        version: the version of priorlang.
    """
    listed = list(findings)
    names = sorted({finding.name for finding in listed}, key=lambda name: REGISTRY[name].code)
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "priorlang",
                        "version": version,
                        "rules": [_rule(name) for name in names],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, names.index(finding.name)) for finding in listed],
            }
        ],
    }


def _rule(name: str) -> dict[str, Any]:
    entry = REGISTRY[name]
    return {
        "id": entry.code,
        "name": entry.name,
        "shortDescription": {"text": entry.meaning},
        "help": {"text": entry.advice},
    }


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    message = finding.message
    if finding.witness:
        message += f" (at {' '.join(f'{key}={value}' for key, value in finding.witness.items())})"
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": _LEVEL[finding.severity],
        "message": {"text": message},
        "locations": [{"physicalLocation": _place(finding.span)}],
    }
    if finding.related:
        result["relatedLocations"] = [
            {"physicalLocation": _place(related.span), "message": {"text": related.message}}
            for related in finding.related
        ]
    if finding.fix is not None and finding.fix.edits:
        result["fixes"] = [_fix(finding.fix)]
    return result


def _fix(fix: Fix) -> dict[str, Any]:
    by_file: dict[str, list[dict[str, Any]]] = {}
    for edit in fix.edits:
        change = {"deletedRegion": _region(edit.span), "insertedContent": {"text": edit.text}}
        by_file.setdefault(edit.span.file, []).append(change)
    changes: list[Mapping[str, Any]] = [
        {"artifactLocation": {"uri": _uri(file)}, "replacements": edits} for file, edits in by_file.items()
    ]
    return {
        "description": {"text": fix.message},
        "artifactChanges": changes,
        "properties": {"automatic": fix.is_safe},
    }


def _place(span: Span) -> dict[str, Any]:
    return {"artifactLocation": {"uri": _uri(span.file)}, "region": _region(span)}


def _region(span: Span) -> dict[str, int]:
    return {
        "startLine": span.start.line,
        "startColumn": span.start.column,
        "endLine": span.end.line,
        "endColumn": span.end.column,
    }


def _uri(file: str) -> str:
    """A relative path as it is, so that a service can place it in the repository; else a file URI."""
    from urllib.parse import quote

    path = PurePath(file)
    return Path(file).as_uri() if path.is_absolute() else quote(path.as_posix())
