"""A prior file from text to table: each phase a pure function, each result worked out once, when asked for.

source ─parse→ program ─resolve→ spec ─evaluate→ cells ─check→ findings
└─compile→ table
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from priorlang.checks import check_cells
from priorlang.checks.cells import cell_findings
from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.model_config import GivenModel
from priorlang.semantics.allow import allowed
from priorlang.semantics.exact import ExactValue
from priorlang.semantics.imports import Program, load_program
from priorlang.semantics.resolve import TooLargeError, resolve
from priorlang.semantics.spec import Spec
from priorlang.syntax import SourceFile, read_source
from priorlang.table.cells import Cells, cells_of
from priorlang.table.compile import compile_spec
from priorlang.table.prior_table import PriorTable


class Prior:
    """One prior file and everything that follows from it."""

    def __init__(
        self,
        source: SourceFile,
        settings: Mapping[str, ExactValue] | None = None,
        model: GivenModel | None = None,
        read: Callable[[str], SourceFile] = read_source,
    ) -> None:
        self.source = source
        self.reader = read
        self.settings = dict(settings or {})
        self.model = model

    @classmethod
    def read(
        cls,
        path: str | os.PathLike[str],
        settings: Mapping[str, ExactValue] | None = None,
        model: GivenModel | None = None,
    ) -> Prior:
        """The prior in a file. Raises PriorError where the file cannot be read."""
        return cls(read_source(path), settings, model)

    @cached_property
    def _program(self) -> tuple[Program, list[Finding]]:
        return load_program(self.source, self.reader)

    @cached_property
    def _resolved(self) -> tuple[Spec | None, list[Finding]]:
        try:
            return resolve(self._program[0], self.settings, self.model)
        except TooLargeError as error:
            return None, error.findings

    @property
    def program(self) -> Program:
        """The parsed files."""
        return self._program[0]

    @property
    def sources(self) -> dict[str, str]:
        """The text of every file, for messages."""
        return {name: file.source.text for name, file in self.program.files.items()}

    @cached_property
    def _evaluated(self) -> tuple[Cells | None, list[Finding]]:
        spec = self._resolved[0]
        try:
            return (None if spec is None else cells_of(spec)), []
        except PriorError as error:
            return None, list(error.findings)

    @property
    def cells(self) -> Cells | None:
        """Every cell, or None where too little of the file could be resolved, or it is too large."""
        return self._evaluated[0]

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Everything there is to say, by place. What `allow` silences is left out."""
        parsed, resolved = self._program[1], self._resolved[1]
        findings = [*parsed, *resolved, *self._evaluated[1]]
        if self.cells is not None:
            if not _errors(findings):
                findings.extend(check_cells(self.cells))
            elif self.cells.spec.conflicts_certain:
                findings.extend(cell_findings(self.cells))
            findings = allowed(self.cells.spec, findings)
        distinct = {(item.name, item.span, item.message): item for item in findings}
        return tuple(sorted(distinct.values(), key=lambda item: item.span))

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
        return compile_spec(self.spec, self.cells)

    def _raise_errors(self) -> None:
        errors = [finding for finding in _errors(self.findings) if finding.name != "expectation-failed"]
        if errors:
            raise PriorError(errors)


def _errors(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity is Severity.ERROR]
