"""What the compiler has to say: one finding, its fix, and the error that carries several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from priorlang.diagnostics.span import Span
from priorlang.records import Record


class Severity(StrEnum):
    """How much a finding matters. Only an `error` stops compilation."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Related(Record):
    """Another place that has a part in the finding."""

    message: str
    span: Span


class Edit(Record):
    """Replace the text of `span` by `text`."""

    span: Span
    text: str


class Fix(Record):
    """A change that mends the finding; without edits it is advice in words.

    One that is not `automatic` makes a choice that is the author's: editors offer it, `--fix` leaves it.
    """

    message: str
    edits: tuple[Edit, ...] = ()
    automatic: bool = True

    @property
    def is_safe(self) -> bool:
        """Whether `--fix` may apply it: it edits, and decides nothing."""
        return self.automatic and bool(self.edits)


class Finding(Record):
    """One thing wrong, or worth knowing, at one place.

    `name` is a name of the registry (diagnostics/registry.py); `witness` is a cell that proves the
    finding, as {"layer": 4, "modality": "vision"}.
    """

    name: str
    severity: Severity
    message: str
    span: Span
    related: tuple[Related, ...] = ()
    witness: Mapping[str, int | str] | None = None
    fix: Fix | None = None

    @property
    def code(self) -> str:
        """The stable code of this finding's name, as PL203."""
        from priorlang.diagnostics.registry import REGISTRY

        return REGISTRY[self.name].code


class PriorError(Exception):
    """A prior or a training file that cannot be used. Carries every finding, errors first."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        order = (Severity.ERROR, Severity.WARNING, Severity.INFO)
        self.findings: tuple[Finding, ...] = tuple(
            sorted(findings, key=lambda finding: (order.index(finding.severity), finding.span))
        )
        super().__init__("\n".join(f"{f.span}: {f.severity}[{f.name}]: {f.message}" for f in self.findings))
