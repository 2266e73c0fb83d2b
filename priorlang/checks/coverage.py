"""Token classes that no rule speaks of, and rules for tokens that the data does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from priorlang.checks.witness import Witness, witness, witness_of
from priorlang.diagnostics.finding import Finding, Severity
from priorlang.diagnostics.suggest import listing
from priorlang.semantics.spec import UNKNOWN

if TYPE_CHECKING:
    from priorlang.checks.shares import GroupShares
    from priorlang.semantics.spec import RuleSpec, Spec
    from priorlang.table.blocks import Block
    from priorlang.table.matching import Mask

FORGOTTEN = 0.5
"""Where fewer than this part of an attribute's members are left out, they look forgotten; else, exempted."""


class Coverage:
    """`uncovered-class` where few classes are left out, and `unseen-class` for rules that match no token."""

    def __init__(self, spec: Spec, shares: GroupShares | None) -> None:
        self.spec = spec
        self.shares = shares
        self.covered: Mask | None = None
        self.seen: set[int] = set()
        self.first: dict[int, Witness] = {}

    def see(self, block: Block) -> None:
        """Take note of a block."""
        if self.covered is None:
            self.covered = np.zeros(block.space.matching.group_count, dtype=np.bool_)
            self.matching = block.space.matching
        self.covered[block.groups_n] |= block.matching_Rn.any(axis=0)
        if self.shares is None:
            return
        there_n = self.shares.fraction_G[block.groups_n] > 0
        for rule in range(len(self.spec.rules)):
            matching_n = block.matching_Rn[rule]
            if rule in self.seen or not matching_n.any():
                continue
            if (matching_n & there_n).any():
                self.seen.add(rule)
            elif rule not in self.first:
                cell = int(matching_n.argmax())
                self.first[rule] = witness(self.spec, block.layer, block.token_class(cell))

    def findings(self) -> list[Finding]:
        """What the blocks came to."""
        found = [self._unseen(rule) for rule in sorted(self.first) if rule not in self.seen]
        return [*found, *self._uncovered()]

    def _unseen(self, position: int) -> Finding:
        rule: RuleSpec = self.spec.rules[position]
        message = f"rule `{rule.name}` matches no token: the shares of all its token classes are 0"
        return Finding("unseen-class", Severity.WARNING, message, rule.name_span, (), self.first[position])

    def _uncovered(self) -> list[Finding]:
        """Members that no rule matches in any class or layer, where most of their attribute's are spoken of."""
        spec = self.spec
        if self.covered is None or not spec.rules or not spec.attributes:
            return []
        found = []
        covered = self.covered[self.matching.group].reshape([len(a.leaves) for a in spec.attributes])
        for axis, attribute in enumerate(spec.attributes):
            others = tuple(other for other in range(covered.ndim) if other != axis)
            spoken_of = np.asarray(covered.any(axis=others))
            left_out = [
                code for code, leaf in enumerate(attribute.leaves) if not spoken_of[code] and leaf != UNKNOWN
            ]
            meant = len(attribute.leaves) - (UNKNOWN in attribute.leaves)
            if left_out and len(left_out) < FORGOTTEN * meant:
                found.append(self._left_out(axis, left_out))
        return found

    def _left_out(self, axis: int, codes: list[int]) -> Finding:
        spec, attribute = self.spec, self.spec.attributes[axis]
        first = [0] * len(spec.attributes)
        first[axis] = codes[0]
        members = listing(attribute.leaves[code] for code in codes)
        message = f"no rule speaks of {attribute.name} {members}: the default alone holds there"
        where = witness_of(spec, spec.model.routed[0], first)
        return Finding("uncovered-class", Severity.INFO, message, attribute.span, (), where)
