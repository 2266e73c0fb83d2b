"""Token classes that no rule speaks of, and rules for tokens that the data does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from priorlang.checks.witness import Witness, witness
from priorlang.diagnostics.finding import Finding, Severity
from priorlang.diagnostics.suggest import listing
from priorlang.semantics.spec import UNKNOWN

if TYPE_CHECKING:
    from priorlang.checks.shares import GroupShares
    from priorlang.diagnostics.span import Span
    from priorlang.semantics.spec import RuleSpec, Spec
    from priorlang.table.blocks import Block
    from priorlang.table.matching import Mask

FORGOTTEN = 0.5
"""Where rules speak of more than this part of the token classes, the others look forgotten; else, exempted."""


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
        uncovered = self._uncovered()
        return [*found, uncovered] if uncovered is not None else found

    def _unseen(self, position: int) -> Finding:
        rule: RuleSpec = self.spec.rules[position]
        message = f"rule `{rule.name}` matches no token: the shares of all its token classes are 0"
        return Finding("unseen-class", Severity.WARNING, message, rule.name_span, (), self.first[position])

    def _uncovered(self) -> Finding | None:
        """Of the classes without an `unknown` member, those that no rule matches in any layer."""
        spec = self.spec
        if self.covered is None or not spec.rules or not spec.attributes:
            return None
        sizes = [len(attribute.leaves) for attribute in spec.attributes]
        meant = self.covered[self.matching.group].reshape(sizes)
        for axis, attribute in enumerate(spec.attributes):
            if UNKNOWN in attribute.leaves:
                meant = np.delete(meant, attribute.leaves.index(UNKNOWN), axis=axis)
        left_out = int(meant.size - meant.sum())
        if not left_out or left_out >= FORGOTTEN * meant.size:
            return None
        names = [[leaf for leaf in attribute.leaves if leaf != UNKNOWN] for attribute in spec.attributes]
        first = np.unravel_index(int((~meant).argmax()), meant.shape)
        where: Witness = {"layer": spec.model.routed[0]}
        where |= {a.name: names[axis][int(first[axis])] for axis, a in enumerate(spec.attributes)}
        words, place = self._in_words(meant, names, left_out)
        message = f"no rule speaks of {words}: the default alone holds there"
        return Finding("uncovered-class", Severity.INFO, message, place, (), where)

    def _in_words(self, meant: Mask, names: list[list[str]], left_out: int) -> tuple[str, Span]:
        """The members of one attribute that are left out altogether, where that is all; else how many classes."""
        for axis, attribute in enumerate(self.spec.attributes):
            others = tuple(other for other in range(meant.ndim) if other != axis)
            absent = ~meant.any(axis=others)
            if int(absent.sum()) * (meant.size // meant.shape[axis]) == left_out:
                members = listing(names[axis][code] for code in np.flatnonzero(absent).tolist())
                return f"{attribute.name} {members}", attribute.span
        place = self.spec.default.name_span
        return f"{left_out:,} of {meant.size:,} token classes", place
