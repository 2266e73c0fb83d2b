"""Experts that one active rule prefers and another avoids, so that the two cancel wholly or in part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from priorlang.checks.witness import Witness, witness
from priorlang.diagnostics.finding import Finding, Related, Severity
from priorlang.semantics.describe import index_set

if TYPE_CHECKING:
    from priorlang.semantics.spec import Spec
    from priorlang.table.blocks import Block

PLACES_SHOWN = 8
"""Preferences named as related to one finding."""


class Contests:
    """`contested-expert` at each `avoid` that meets a `prefer` for the same expert, with the cell where they meet.

    A warning where some expert of the clause is left exactly where it would be without either; a remark where one of
    the two outweighs the other, which may well be how an exception is written.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.found: dict[int, Finding] = {}

    def see(self, block: Block) -> None:
        """Take note of a block."""
        asked = block.asked
        contested_nE = (asked.prefer_nE > 0) & (asked.avoid_nE > 0)
        contested_nE &= asked.shaped_n[:, None]
        if not contested_nE.any():
            return
        cancelled_nE = contested_nE & (asked.prefer_nE == asked.avoid_nE)
        avoided_RE = block.amounts.avoid_RE > 0
        avoiding = np.flatnonzero(avoided_RE.any(axis=1)).tolist()
        rules = np.array([rule for rule in avoiding if self._may_say_more(rule)], dtype=np.int64)
        active_Rn = asked.active_Rn[rules].astype(np.float32)
        for severity, meeting_nE in ((Severity.WARNING, cancelled_nE), (Severity.INFO, contested_nE)):
            if not meeting_nE.any():
                continue
            meets_R = ((active_Rn @ meeting_nE.astype(np.float32) > 0) & avoided_RE[rules]).any(axis=1)
            for rule in rules[meets_R].tolist():
                if severity is Severity.WARNING or rule not in self.found:
                    acts_nE = asked.active_Rn[rule][:, None] & avoided_RE[rule] & meeting_nE
                    cell = int(acts_nE.any(axis=1).argmax())
                    experts = np.flatnonzero(acts_nE[cell]).tolist()
                    self.found[rule] = self._finding(block, rule, cell, experts, severity)

    def _may_say_more(self, rule: int) -> bool:
        """Whether nothing, or only a remark, has been said of a rule."""
        known = self.found.get(rule)
        return known is None or known.severity is not Severity.WARNING

    def findings(self) -> list[Finding]:
        """What the blocks came to."""
        return list(self.found.values())

    def _finding(self, block: Block, rule: int, cell: int, experts: list[int], severity: Severity) -> Finding:
        where: Witness = witness(self.spec, block.layer, block.token_class(cell))
        active = np.flatnonzero(block.asked.active_Rn[:, cell]).tolist()
        against = [push for push in self.spec.rules[rule].pushes if push.verb == "avoid"]
        place = next((push.span for push in against if push.experts & set(experts)), against[0].span)
        preferring = [
            (self.spec.rules[other], push)
            for other in active
            for push in self.spec.rules[other].pushes
            if push.verb == "prefer" and push.experts & set(experts)
        ]
        names = list(dict.fromkeys(f"`{other.name}`" for other, _ in preferring))
        who = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        one = len(experts) == 1
        effect = (
            f"the two cancel exactly, so {'it is' if one else 'they are'} as if neither said anything"
            if severity is Severity.WARNING
            else "the two cancel in part"
        )
        message = (
            f"`{self.spec.rules[rule].name}` avoids expert{'' if one else 's'} {index_set(experts)}, which {who} "
            f"prefer{'s' if len(names) == 1 else ''} in the same cell: {effect}"
        )
        related = tuple(
            Related(f"`{other.name}` prefers {'it' if one else 'them'} here", push.span)
            for other, push in preferring[:PLACES_SHOWN]
        )
        return Finding("contested-expert", severity, message, place, related, where)
