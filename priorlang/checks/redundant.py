"""Rules without which the table would be the same, for which the whole table is the witness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from priorlang.checks.witness import Witness, witness
from priorlang.diagnostics.finding import Finding, Severity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from priorlang.semantics.spec import Spec
    from priorlang.table.blocks import Asked, Block

FIRST_LOOK = 8
"""Cells tried before all of a block: most rules change the first one that they match."""


class Redundancy:
    """`redundant-rule` for each rule that acts and could be removed, alone, without changing any cell."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.needless = set(range(len(spec.rules)))
        self.acts: dict[int, Witness] = {}
        self._meek_R = np.array([not (r.overrides or r.overrides_all) for r in spec.rules], dtype=np.bool_)
        self._splits = sorted(spec.default.split.union(*(rule.split for rule in spec.rules)))
        self._split_RS = np.array(
            [[attribute in rule.split for attribute in self._splits] for rule in spec.rules], dtype=np.bool_
        ).reshape(len(spec.rules), len(self._splits))

    def see(self, block: Block) -> None:
        """Take note of a block."""
        idle = self._drop_obvious(block)
        may_R = np.where(self._meek_R, block.acts, block.matching_Rn.any(axis=1))
        for rule in sorted((self.needless - idle).intersection(np.flatnonzero(may_R).tolist())):
            acts_n = block.asked.active_Rn[rule] if self._meek_R[rule] else block.matching_Rn[rule]
            cells = np.flatnonzero(acts_n)
            if self._changes(block, rule, cells[:FIRST_LOOK]) or self._changes(
                block, rule, cells[FIRST_LOOK:]
            ):
                self.needless.discard(rule)

    def findings(self) -> list[Finding]:
        """What the blocks came to."""
        return [
            Finding(
                "redundant-rule",
                Severity.WARNING,
                f"without rule `{rule.name}` the table would be the same",
                rule.name_span,
                (),
                self.acts[position],
            )
            for position, rule in enumerate(self.spec.rules)
            if position in self.needless and position in self.acts
        ]

    def _drop_obvious(self, block: Block) -> set[int]:
        """Drop rules that override nothing, write no base and push some expert; and name those that are idle here.

        A rule that overrides nothing is idle where it says what the default says: others cannot write anything else
        to its cells, or they would clash.
        """
        amounts, default = block.amounts, self.spec.default
        pushes_R = (amounts.prefer_RE != amounts.avoid_RE).any(axis=1)
        needed_R = pushes_R & (amounts.base_R < 0) & self._meek_R & (block.first_acting >= 0)
        self.needless.difference_update(np.flatnonzero(needed_R).tolist())
        for rule in (self.needless - self.acts.keys()).intersection(np.flatnonzero(block.acts).tolist()):
            cell = int(block.asked.active_Rn[rule].argmax())
            self.acts[rule] = witness(self.spec, block.layer, block.token_class(cell))
        if default.unshaped is not None:
            return set()
        idle_R = self._meek_R & ~pushes_R & ~amounts.unshaped_R & ~self._split_RS.any(axis=1)
        idle_R &= (amounts.base_R < 0) | (amounts.base_R == amounts.default_base)
        idle_R &= (amounts.weight_R < 0) | (amounts.weight_R == amounts.default_weight)
        return set(np.flatnonzero(idle_R).tolist())

    def _changes(self, block: Block, rule: int, cells: NDArray[np.int64]) -> bool:
        """Whether some of these cells asks for something else without the rule."""
        if not len(cells):
            return False
        active_Rn = block.asked.active_Rn[:, cells]
        without_Rn = block.space.active_without(rule, block.matching_Rn[:, cells], active_Rn)
        before = block.space.asked(active_Rn, block.amounts)
        after = block.space.asked(without_Rn, block.amounts)
        both_n = before.shaped_n & after.shaped_n
        differ_n = (before.shaped_n != after.shaped_n) | (before.unshaped_n != after.unshaped_n)
        differ_n |= both_n & (before.alpha_nE != after.alpha_nE).any(axis=1)
        differ_n |= both_n & (before.weight_n != after.weight_n)
        if self._splits:
            differ_n |= both_n & (self._split(before) != self._split(after)).any(axis=1)
        return bool(differ_n.any())

    def _split(self, asked: Asked) -> NDArray[np.bool_]:
        """[n, S]: the attributes that split the population of each cell."""
        own = np.array([attribute in self.spec.default.split for attribute in self._splits])
        found: NDArray[np.bool_] = (asked.active_Rn.T.astype(np.float32) @ self._split_RS > 0) | own
        return found
