"""Findings about rules as such: dead, shadowed, overriding in vain or in a circle, let in by a `not`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from priorlang.checks.witness import witness
from priorlang.diagnostics.finding import Finding, Fix, Related, Severity
from priorlang.semantics.spec import RuleSpec, Spec
from priorlang.table.cells import Cells, class_mask, layer_mask
from priorlang.table.prior_table import UNKNOWN


def rule_findings(cells: Cells) -> list[Finding]:
    """`dead-rule`, `shadowed-rule`, `override-cycle`, `override-no-overlap`, `unknown-by-negation`."""
    spec = cells.spec
    layers = np.asarray(spec.model.routed)
    reach = {rule.name: (layer_mask(rule.where, layers), class_mask(rule.where, spec)) for rule in spec.rules}
    used = {position for rules in cells.active for position in rules}
    findings: list[Finding] = []
    for position, rule in enumerate(spec.rules):
        layer_reach, class_reach = reach[rule.name]
        if not (layer_reach.any() and class_reach.any()):
            message = f"rule `{rule.name}` matches no cell: none of its layers routes"
            findings.append(_warning("dead-rule", message, rule))
        elif position not in used:
            findings.append(_shadowed(spec, rule, reach))
        findings.extend(_overrides(spec, rule, reach))
        findings.extend(_unknown_by_negation(spec, rule))
    return findings


Reach = dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]


def _shadowed(spec: Spec, rule: RuleSpec, reach: Reach) -> Finding:
    silencers = [other for other in spec.rules if _overrides_it(other, rule) and _meet(other, rule, reach)]
    related = tuple(Related(f"`{other.name}` overrides it", other.name_span) for other in silencers)
    message = f"rule `{rule.name}` is overridden wherever it matches"
    return Finding(
        "shadowed-rule", Severity.WARNING, message, rule.name_span, related, _first_cell(spec, rule, reach)
    )


def _overrides(spec: Spec, rule: RuleSpec, reach: Reach) -> list[Finding]:
    findings = []
    for other in spec.rules:
        if other is rule or not _overrides_it(rule, other):
            continue
        meet = _meet(rule, other, reach)
        if meet is None:
            if not rule.overrides_all:
                message = f"rule `{rule.name}` overrides `{other.name}`, and they never match the same cell"
                findings.append(
                    Finding(
                        "override-no-overlap",
                        Severity.WARNING,
                        message,
                        rule.overrides_span or rule.name_span,
                    )
                )
        elif _overrides_it(other, rule) and rule.span < other.span:
            message = f"rules `{rule.name}` and `{other.name}` override each other, so neither is active here"
            related = (Related("and back", other.overrides_span or other.name_span),)
            place = rule.overrides_span or rule.name_span
            fix = Fix("remove one of the two `overrides`")
            where = witness(spec, spec.model.routed[meet[0]], meet[1])
            findings.append(Finding("override-cycle", Severity.ERROR, message, place, related, where, fix))
    return findings


def _unknown_by_negation(spec: Spec, rule: RuleSpec) -> list[Finding]:
    findings = []
    for condition in rule.where.conditions:
        attribute = spec.attributes[condition.attribute]
        if not condition.negated or UNKNOWN not in attribute.leaves:
            continue
        if attribute.leaves.index(UNKNOWN) in condition.codes:
            message = f"this `not` lets tokens of unknown {attribute.name} through"
            fix = Fix("add `| unknown` to the set, if they are not meant")
            findings.append(
                Finding("unknown-by-negation", Severity.WARNING, message, condition.span, fix=fix)
            )
    return findings


def _overrides_it(rule: RuleSpec, other: RuleSpec) -> bool:
    return rule is not other and (rule.overrides_all or other.name in rule.overrides)


def _meet(first: RuleSpec, second: RuleSpec, reach: Reach) -> tuple[int, int] | None:
    """The positions (layer, class) of a cell that both rules match, or None."""
    layers = np.flatnonzero(reach[first.name][0] & reach[second.name][0])
    classes = np.flatnonzero(reach[first.name][1] & reach[second.name][1])
    return (int(layers[0]), int(classes[0])) if len(layers) and len(classes) else None


def _first_cell(spec: Spec, rule: RuleSpec, reach: Reach) -> dict[str, int | str]:
    layer = spec.model.routed[int(np.argmax(reach[rule.name][0]))]
    return witness(spec, layer, int(np.argmax(reach[rule.name][1])))


def _warning(name: str, message: str, rule: RuleSpec) -> Finding:
    return Finding(name, Severity.WARNING, message, rule.name_span)
