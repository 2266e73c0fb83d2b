"""Rules without which the table would be the same."""

from __future__ import annotations

import numpy as np

from priorlang.diagnostics.finding import Finding, Severity
from priorlang.semantics.spec import RuleSpec
from priorlang.table.cells import Cells, cell_prior
from priorlang.table.matching import distinct_columns, matching_of, silencers_of

MAXIMUM_WORK = 3_000_000
"""Rules tried, times cells with distinct rules, times rules that match there."""


def redundant_findings(cells: Cells) -> list[Finding]:
    """`redundant-rule` for each rule that could be removed, alone, without changing any cell.

    Left out where a program is so large that trying every rule would take minutes.
    """
    spec = cells.spec
    needed = _Needed(cells)
    if needed.work > MAXIMUM_WORK:
        return []
    return [
        Finding(
            "redundant-rule",
            Severity.WARNING,
            f"without rule `{rule.name}` the table would be the same",
            rule.name_span,
        )
        for position, rule in enumerate(spec.rules)
        if position in needed.active and not needed.changes_something(position)
    ]


class _Needed:
    """Every distinct set of rules that match together, and what becomes of it without one of them."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        spec = cells.spec
        self.silencers = silencers_of(spec)
        self.active = {position for rules in cells.active for position in rules}
        self.matching: dict[frozenset[int], set[int]] = {}
        if spec.rules:
            where = matching_of(spec)
            routed = np.asarray(spec.model.routed)
            kinds, kind_of_layer = distinct_columns(where.layers)
            for kind, example in enumerate(kinds):
                found = where.groups & where.layers[:, example, None]
                for column in distinct_columns(found)[0]:
                    rules = frozenset(np.flatnonzero(found[:, column]).tolist())
                    if rules:
                        self.matching.setdefault(rules, set()).update(routed[kind_of_layer == kind].tolist())
        self.work = sum(len(rules) ** 2 for rules in self.matching)
        self.known: dict[tuple[frozenset[int], int], object] = {}

    def changes_something(self, position: int) -> bool:
        return any(
            self.prior(rules, layer) != self.prior(rules - {position}, layer)
            for rules, layers in self.matching.items()
            if position in rules
            for layer in layers
        )

    def prior(self, matching: frozenset[int], layer: int) -> object:
        active = frozenset(rule for rule in matching if matching.isdisjoint(self.silencers[rule]))
        rules = [self.cells.spec.rules[position] for position in sorted(active)]
        layer = layer if self._varies(rules) else -1
        key = (active, layer)
        if key not in self.known:
            routed = self.cells.spec.model.routed
            self.known[key] = cell_prior(self.cells.spec, rules, layer if layer >= 0 else routed[0])
        return self.known[key]

    def _varies(self, rules: list[RuleSpec]) -> bool:
        return self.cells.spec.default.varies or any(rule.varies for rule in rules)
