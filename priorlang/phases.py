"""A prior file from text to table: each phase a pure function, each result worked out once, when asked for.

source ─parse→ program ─resolve→ spec ─evaluate→ cells ─check→ findings
└─compile→ table
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from priorlang.checks import Checked, Evidence, check_cells, check_spec
from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.semantics.allow import BY_BATCH, BY_SHARES, allowed, idle
from priorlang.semantics.exact import ExactValue
from priorlang.semantics.imports import Program, load_program
from priorlang.semantics.resolve import resolve
from priorlang.semantics.spec import Spec
from priorlang.syntax import SourceFile, read_source

if TYPE_CHECKING:
    from priorlang.checks.shares import ClassShares, GivenShares
    from priorlang.model_config import GivenModel
    from priorlang.table.cells import Cells
    from priorlang.table.prior_table import PriorTable


class Given(NamedTuple):
    """What is known beyond the file, as it was given: see `priorlang.checks.shares`.

    Attributes:
        shares: token shares.
        batch_tokens: tokens in a global batch.
        place: where the shares stand: an option, or a file of counts.
    """

    shares: GivenShares | ClassShares | None = None
    batch_tokens: float | None = None
    place: str = "--shares"


class Prior:
    """One prior file and everything that follows from it."""

    def __init__(
        self,
        source: SourceFile,
        settings: Mapping[str, ExactValue] | None = None,
        model: GivenModel | None = None,
        read: Callable[[str], SourceFile] = read_source,
        evidence: Given | None = None,
    ) -> None:
        self.source = source
        self.reader = read
        self.settings = dict(settings or {})
        self.model = model
        self.evidence = evidence or Given()

    @classmethod
    def read(
        cls,
        path: str | os.PathLike[str],
        settings: Mapping[str, ExactValue] | None = None,
        model: GivenModel | None = None,
        evidence: Given | None = None,
    ) -> Prior:
        """The prior in a file. Raises PriorError where the file cannot be read."""
        return cls(read_source(path), settings, model, evidence=evidence)

    def having(self, settings: Mapping[str, ExactValue]) -> Prior:
        """The same file with other values of some parameters."""
        changed = {**self.settings, **settings}
        return Prior(self.source, changed, self.model, self.reader, self.evidence)

    @cached_property
    def _program(self) -> tuple[Program, list[Finding]]:
        return load_program(self.source, self.reader)

    @cached_property
    def _resolved(self) -> tuple[Spec | None, list[Finding]]:
        return resolve(self._program[0], self.settings, self.model)

    @property
    def program(self) -> Program:
        """The parsed files."""
        return self._program[0]

    @property
    def sources(self) -> dict[str, str]:
        """The text of every file, for messages."""
        return {name: file.source.text for name, file in self.program.files.items()}

    @cached_property
    def cells(self) -> Cells | None:
        """Every cell, or None where too little of the file could be resolved, or it is too large."""
        from priorlang.table.cells import cells_of

        spec = self._resolved[0]
        try:
            return None if spec is None else cells_of(spec)
        except PriorError:
            return None

    @cached_property
    def _checked(self) -> Checked:
        """What the checks find; all of them only where the text is sound."""
        spec = self._resolved[0]
        if spec is None:
            return Checked([], 0)
        try:
            if not _errors([*self._program[1], *self._resolved[1]]):
                return check_spec(spec, self._evidence(spec))
            return Checked(check_cells(spec) if spec.conflicts_certain else [], 0)
        except PriorError as error:
            return Checked(list(error.findings), 0)

    def _evidence(self, spec: Spec) -> Evidence | None:
        given = self.evidence
        if given == Given():
            return None
        from priorlang.checks.shares import evidence_of

        return evidence_of(spec, given.shares, given.batch_tokens, given.place)

    @property
    def distinct_priors(self) -> int:
        """How many distinct (α, λ) the cells of a sound prior have."""
        return self._checked.distinct

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Everything there is to say, by place. What `allow` silences is left out."""
        parsed, resolved = self._program[1], self._resolved[1]
        findings = [*parsed, *resolved, *self._checked.findings]
        spec = self._resolved[0]
        if spec is not None:
            findings = [*allowed(spec, findings), *self._idle(spec, findings)]
        distinct = {(item.name, item.span, item.message): item for item in findings}
        return tuple(sorted(distinct.values(), key=lambda item: item.span))

    def _idle(self, spec: Spec, findings: list[Finding]) -> list[Finding]:
        """The `allow` lines that silence nothing, of the opinions that could be formed."""
        if self.settings or _mistakes(findings):
            return []
        found = idle(spec, findings)
        if self.evidence.shares is not None or spec.class_count == 1:
            found += idle(spec, findings, BY_SHARES, "these token shares")
            if self.evidence.batch_tokens is not None:
                found += idle(spec, findings, BY_BATCH, "batches of this size")
        return found

    @property
    def spec(self) -> Spec:
        """The resolved prior. Raises PriorError where anything is wrong with the file.

        A failed `expect` is no such thing: expectations are tests, and one wants to `explain` a prior
        that fails them. `findings` has them.
        """
        self._raise_errors()
        spec = self._resolved[0]
        assert spec is not None
        return spec

    @cached_property
    def table(self) -> PriorTable:
        """The compiled prior. Raises PriorError where anything is wrong with the file."""
        from priorlang.table.compile import compile_spec

        return compile_spec(self.spec, self.cells)

    def _raise_errors(self) -> None:
        mistakes = _mistakes(self.findings)
        if mistakes:
            raise PriorError(mistakes)


def _mistakes(findings: Iterable[Finding]) -> list[Finding]:
    """Errors other than failed expectations, which keep nothing from being worked out."""
    return [finding for finding in _errors(findings) if finding.name != "expectation-failed"]


def _errors(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity is Severity.ERROR]
