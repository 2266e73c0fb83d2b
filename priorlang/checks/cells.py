"""Findings that single cells prove: conflicts, missing bases, and concentrations out of range."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from priorlang.checks.witness import witness
from priorlang.diagnostics.finding import Edit, Finding, Fix, Related, Severity
from priorlang.diagnostics.span import Span
from priorlang.semantics.exact import at_layer, rounded
from priorlang.syntax.phrases import quoted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from priorlang.checks.witness import Witness
    from priorlang.semantics.spec import RuleSpec, Spec
    from priorlang.table.blocks import Block
    from priorlang.table.matching import Mask

MOST_CONFLICTS = 100
"""Pairs of rules that are reported; a file with more has one cause for many."""

_HUGE = 1e300
"""An amount that makes α too large whatever else there is, or is close to it."""


class CellErrors:
    """`conflict`, `missing-default`, `invalid-alpha` and `invalid-weight`, each with a witness cell."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.conflicts: dict[tuple[str, int, int], Finding] = {}
        self.others: dict[tuple[str, Span], Finding] = {}

    def see(self, block: Block) -> None:
        """Take note of a block."""
        asked, amounts = block.asked, block.amounts
        if asked.base_clash_n.any():
            self._conflicts(block, "base", asked.base_clash_n, amounts.base_R)
        if asked.weight_clash_n.any():
            self._conflicts(block, "weight", asked.weight_clash_n, amounts.weight_R)
        clash_n = asked.base_clash_n | asked.weight_clash_n
        missing_n = ~(asked.shaped_n | asked.unshaped_n | clash_n)
        for effect, value_n in (("base", asked.base_n), ("weight", asked.weight_n)):
            self._gaps(block, effect, missing_n & (value_n < 0))
            missing_n &= value_n >= 0
        self._unusable(block)

    def findings(self) -> list[Finding]:
        """What the blocks came to."""
        return [*self.conflicts.values(), *self.others.values()]

    def _conflicts(self, block: Block, effect: str, clash_n: Mask, value_R: NDArray[np.int64]) -> None:
        """Each pair of active rules that write different values to one cell."""
        writers = np.flatnonzero(value_R >= 0)
        cells = np.flatnonzero(clash_n)
        active = block.asked.active_Rn[np.ix_(writers, cells)]
        differ = value_R[writers][:, None] != value_R[writers][None, :]
        together = active.astype(np.float32) @ active.T.astype(np.float32) > 0
        for first, second in np.argwhere(np.triu(together & differ)).tolist():
            key = (effect, int(writers[first]), int(writers[second]))
            if key in self.conflicts:
                continue
            if len(self.conflicts) >= MOST_CONFLICTS:
                return
            cell = int(cells[int((active[first] & active[second]).argmax())])
            # The exception is the rule that matches less, else the later one.
            breadth_R = block.space.breadth
            usual, exception = sorted(
                key[1:], key=lambda rule: (-float(breadth_R[rule]), self.spec.rules[rule].span)
            )
            rules = self.spec.rules[usual], self.spec.rules[exception]
            where = witness(self.spec, block.layer, block.token_class(cell))
            self.conflicts[key] = _conflict(effect, rules, where)

    def _gaps(self, block: Block, effect: str, missing_n: Mask) -> None:
        """One finding for each rule that shapes a cell to which nothing gives a base or a weight."""
        if not missing_n.any():
            return
        cells = np.flatnonzero(missing_n)
        shaping = np.flatnonzero(block.amounts.shaping_R)
        active = block.asked.active_Rn[np.ix_(shaping, cells)]
        first_n = (
            np.where(active.any(axis=0), active.argmax(axis=0), -1)
            if len(shaping)
            else np.full(len(cells), -1)
        )
        chosen, first = np.unique(first_n, return_index=True)
        for position, cell in zip(chosen.tolist(), cells[first].tolist(), strict=True):
            rule = self.spec.default if position < 0 else self.spec.rules[int(shaping[position])]
            if rule is self.spec.default:
                message = f"`default` states no {effect}, and no rule does for this cell"
            else:
                message = f"rule `{rule.name}` shapes a cell to which nothing gives a {effect}"
            fix = Fix(f"state a {effect} in `default`, or in the rule")
            where = witness(self.spec, block.layer, block.token_class(cell))
            found = Finding("missing-default", Severity.ERROR, message, rule.span, (), where, fix)
            self.others.setdefault((f"missing-{effect}", rule.span), found)

    def _unusable(self, block: Block) -> None:
        """The first cells in which α or λ cannot be used, at the clause to look at."""
        asked, alpha_nE = block.asked, block.alpha
        with np.errstate(over="ignore", invalid="ignore"):
            sound_n = (alpha_nE > 0).all(axis=1) & np.isfinite(alpha_nE.sum(axis=1))
        for cell in np.flatnonzero(asked.shaped_n & ~sound_n).tolist():
            self._note("invalid-alpha", _alpha_problem(alpha_nE[cell]), block, cell)
        heavy = [number for number, weight in enumerate(block.amounts.weights) if math.isinf(rounded(weight))]
        if heavy:
            for cell in np.flatnonzero(asked.shaped_n & sound_n & np.isin(asked.weight_n, heavy)).tolist():
                self._note("invalid-weight", "the weight is too large for a 64-bit number", block, cell)

    def _note(self, name: str, message: str, block: Block, cell: int) -> None:
        place = self._culprit(np.flatnonzero(block.asked.active_Rn[:, cell]).tolist(), name, block.layer)
        if (name, place) not in self.others:
            where = witness(self.spec, block.layer, block.token_class(cell))
            self.others[name, place] = Finding(name, Severity.ERROR, message, place, (), where)

    def _culprit(self, active: list[int], name: str, layer: int) -> Span:
        """The clause to look at: what lowers α or is huge, else what states the base or the weight."""
        rules = [self.spec.rules[position] for position in active]
        if name == "invalid-alpha":
            pushes = [push for rule in rules for push in rule.pushes]
            huge = [push for push in pushes if rounded(at_layer(push.by, layer)) > _HUGE]
            for push in [*huge, *(push for push in pushes if push.verb == "avoid")]:
                return push.span
        effect = "weight" if name == "invalid-weight" else "base"
        for rule in [*rules, self.spec.default]:
            if getattr(rule, effect) is not None:
                return _effect_span(rule, effect)
        return self.spec.default.span


def _conflict(effect: str, rules: tuple[RuleSpec, RuleSpec], where: Witness) -> Finding:
    """Of a usual rule and an exception."""
    usual, exception = rules
    first, second = sorted(rules, key=lambda rule: rule.span)
    place, other = _effect_span(second, effect), _effect_span(first, effect)
    message = f"rules `{first.name}` and `{second.name}` write a different {effect} to the same cell"
    related = (Related(f"`{first.name}` writes its {effect} here", other),)
    return Finding(
        "conflict", Severity.ERROR, message, place, related, where, _override_fix(exception, usual)
    )


def _override_fix(winner: RuleSpec, loser: RuleSpec) -> Fix:
    """Let one rule override the other."""
    name = quoted(loser.name)
    message = f"if `{winner.name}` is the exception, write `overrides {name}` in it"
    if winner.span.file.endswith((".yaml", ".yml")):
        return Fix(message)
    if winner.overrides_span is not None:
        end = winner.overrides_span.end
        return Fix(message, (Edit(Span(winner.span.file, end, end), f", {name}"),), automatic=False)
    end = winner.name_span.end
    return Fix(message, (Edit(Span(winner.span.file, end, end), f" overrides {name}"),), automatic=False)


def _alpha_problem(alpha_E: NDArray[np.float64]) -> str:
    for expert, value in enumerate(alpha_E.tolist()):
        if value <= 0:
            return f"α of expert {expert} comes to {value:g}; it must be above 0"
        if not math.isfinite(value):
            return f"α of expert {expert} is too large for a 64-bit number"
    return "the sum of α is too large for a 64-bit number"


def _effect_span(rule: RuleSpec, effect: str) -> Span:
    stated = rule.base if effect == "base" else rule.weight
    return rule.span if stated is None else stated.span
