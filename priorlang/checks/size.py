"""How much there is: distinct priors, rules that act, and whether the whole can be compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from priorlang.diagnostics.finding import Finding, Severity
from priorlang.table.cells import MAXIMUM_CONCENTRATIONS

if TYPE_CHECKING:
    from priorlang.semantics.spec import Spec
    from priorlang.table.blocks import Block


class Size:
    """`too-large` where there are more distinct priors than a table takes.

    Attributes:
        used: positions of the rules that act on some cell.
        distinct: the distinct (α, λ), by their hashes.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.used: set[int] = set()
        self.distinct: set[int] = set()

    def see(self, block: Block) -> None:
        """Take note of a block."""
        asked = block.asked
        self.used.update(np.flatnonzero(asked.active_Rn.any(axis=1)).tolist())
        shaped_n = asked.shaped_n
        rows = np.column_stack([block.alpha[shaped_n], block.weights[shaped_n]])
        size = rows.shape[1] * rows.itemsize
        raw = rows.tobytes()
        self.distinct.update(hash(raw[start : start + size]) for start in range(0, len(raw), size))

    def findings(self) -> list[Finding]:
        """What the blocks came to."""
        if not self.is_too_large:
            return []
        message = f"more than {MAXIMUM_CONCENTRATIONS:,} concentrations (distinct cells × experts)"
        return [Finding("too-large", Severity.ERROR, message, self.spec.model.span)]

    @property
    def is_too_large(self) -> bool:
        """Whether there are more priors than a table takes: no need to look further."""
        return len(self.distinct) * self.spec.model.experts > MAXIMUM_CONCENTRATIONS
