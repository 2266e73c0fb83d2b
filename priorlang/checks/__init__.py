"""Spec and token shares → findings. One file a family; each sees every block of cells once.

A family is made for one prior, is shown its blocks in order (`see`), and then says what they came to
(`findings`). What it says is a function of the prior and the shares alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from priorlang.diagnostics.finding import Finding, PriorError, Severity

if TYPE_CHECKING:
    from priorlang.checks.shares import ClassShares
    from priorlang.semantics.spec import Spec
    from priorlang.table.blocks import Block


class Family(Protocol):
    """One family of findings."""

    def see(self, block: Block) -> None:
        """Take note of a block of cells."""

    def findings(self) -> list[Finding]:
        """What the blocks came to."""


class Evidence(NamedTuple):
    """What is known beyond the file.

    Attributes:
        shares: how many of the tokens belong to each token class.
        batch_tokens: tokens in a global batch, from which one step learns.
    """

    shares: ClassShares | None = None
    batch_tokens: float | None = None


class Checked(NamedTuple):
    """What checking a prior came to: the findings, and how many distinct (α, λ) it has."""

    findings: list[Finding]
    distinct: int


def check_spec(spec: Spec, evidence: Evidence | None = None) -> Checked:
    """Every finding about a resolved prior. Opinions are formed only of what is free of errors.

    Raises:
        PriorError: `too-large`, where the rules tell apart more than anyone could mean.
    """
    from priorlang.checks.cells import CellErrors
    from priorlang.checks.circles import circle_findings
    from priorlang.checks.contested import Contests
    from priorlang.checks.coverage import Coverage
    from priorlang.checks.dirichlet import Extremes
    from priorlang.checks.load import Loads
    from priorlang.checks.redundant import Redundancy
    from priorlang.checks.rules import rule_findings
    from priorlang.checks.shares import certain_shares, group_shares
    from priorlang.checks.size import Size
    from priorlang.checks.starvation import Starvation
    from priorlang.checks.weak import Weak
    from priorlang.table.blocks import Space

    space = Space(spec)
    shares = (evidence.shares if evidence else None) or certain_shares(spec)
    grouped = group_shares(shares, space.matching) if shares else None
    errors, size = CellErrors(spec), Size(spec)
    opinions: list[Family] = [
        Redundancy(spec),
        Extremes(spec),
        Contests(spec),
        Weak(spec),
        Coverage(spec, grouped),
        Starvation(spec, grouped),
        Loads(spec, grouped),
    ]
    for block in space.blocks():
        errors.see(block)
        size.see(block)
        if size.is_too_large:
            return Checked([*errors.findings(), *size.findings()], 0)
        if not errors.findings():
            for opinion in opinions:
                opinion.see(block)
    findings = [*errors.findings(), *size.findings(), *rule_findings(spec, size.used, space.silencers)]
    if not any(finding.name == "override-cycle" for finding in findings):
        findings.extend(circle_findings(space))
    if any(finding.severity is Severity.ERROR for finding in findings):
        return Checked(findings, len(size.distinct))
    for opinion in opinions:
        findings.extend(opinion.findings())
    if evidence is not None and evidence.batch_tokens is not None and shares is not None:
        from priorlang.checks.population import small_populations

        findings.extend(small_populations(spec, shares, evidence.batch_tokens))
    if spec.expects:
        from priorlang.checks.expectations import expectation_findings
        from priorlang.table.cells import cells_of

        findings.extend(expectation_findings(cells_of(spec)))
    return Checked(findings, len(size.distinct))


def check_cells(spec: Spec) -> list[Finding]:
    """The errors of single cells: whatever keeps a prior from being compiled.

    Raises:
        PriorError: `too-large`.
    """
    from priorlang.checks.cells import CellErrors
    from priorlang.table.blocks import Space

    errors = CellErrors(spec)
    for block in Space(spec).blocks():
        errors.see(block)
    return errors.findings()


def raise_errors(findings: list[Finding]) -> None:
    """Raise PriorError with the errors among some findings, if there are any."""
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        raise PriorError(errors)
