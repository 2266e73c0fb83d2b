"""How much there is: distinct priors, rules that act, and whether the whole can be compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from priorlang.diagnostics.finding import Finding, Severity
from priorlang.table.cells import MAXIMUM_CONCENTRATIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
        self.used.update(np.flatnonzero(block.acts).tolist())
        shaped_n = asked.shaped_n
        rows = np.column_stack([block.alpha[shaped_n], block.weights[shaped_n]])
        self.distinct.update(_hashes(rows).tolist())

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


def _hashes(rows: NDArray[np.float64]) -> NDArray[np.uint64]:
    """A 64-bit hash of each row, the same in every process."""
    with np.errstate(over="ignore"):
        mixed = (
            np.ascontiguousarray(rows).view(np.uint64)
            + np.arange(1, rows.shape[1] + 1, dtype=np.uint64) * _ODD[0]
        )
        # The mixer of SplitMix64: decimals leave the low bits of a float empty.
        mixed = (mixed ^ (mixed >> _SHIFTS[0])) * _ODD[1]
        mixed = (mixed ^ (mixed >> _SHIFTS[1])) * _ODD[2]
        mixed ^= mixed >> _SHIFTS[2]
        return np.asarray(mixed.sum(axis=1, dtype=np.uint64))


_ODD = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], dtype=np.uint64)
_SHIFTS = np.array([30, 27, 31], dtype=np.uint64)
