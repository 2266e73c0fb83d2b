"""Spec → findings. One file a family; each is a pure function of the evaluated cells."""

from __future__ import annotations

from collections.abc import Callable

from priorlang.checks.cells import cell_findings
from priorlang.checks.expectations import expectation_findings
from priorlang.checks.redundant import redundant_findings
from priorlang.checks.rules import rule_findings
from priorlang.diagnostics.finding import Finding, Severity
from priorlang.table.cells import Cells

CHECKS: tuple[Callable[[Cells], list[Finding]], ...] = (cell_findings, rule_findings)


def check_cells(cells: Cells) -> list[Finding]:
    """Every finding about a resolved prior. Expectations are tried only where α is sound."""
    findings = [finding for check in CHECKS for finding in check(cells)]
    if not any(finding.severity is Severity.ERROR for finding in findings):
        findings.extend(redundant_findings(cells))
        findings.extend(expectation_findings(cells))
    return findings
