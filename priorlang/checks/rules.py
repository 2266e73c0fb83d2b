"""Findings about rules as such: dead, shadowed, overriding in vain or in a circle, let in by a `not`."""

from __future__ import annotations

from itertools import islice

from priorlang.checks.witness import witness_of
from priorlang.diagnostics.finding import Finding, Fix, Related, Severity
from priorlang.semantics.spec import UNKNOWN, RuleSpec, Spec

PLACES_SHOWN = 8
"""Rules named as related to one finding."""


def rule_findings(spec: Spec, used: set[int], silencers: list[tuple[int, ...]]) -> list[Finding]:
    """`dead-rule`, `shadowed-rule`, `override-cycle`, `override-no-overlap`, `unknown-by-negation`.

    Args:
        spec: the prior.
        used: the positions of the rules that act on some cell.
        silencers: for each rule, the positions of the rules that override it.
    """
    position_of = {rule.name: position for position, rule in enumerate(spec.rules)}
    findings: list[Finding] = []
    for position, rule in enumerate(spec.rules):
        if position not in used:
            if _first_cell(spec, rule) is None:
                message = f"rule `{rule.name}` matches no cell: none of its layers routes"
                findings.append(_warning("dead-rule", message, rule))
            else:
                findings.append(_shadowed(spec, rule, silencers[position]))
        findings.extend(_override_cycles(spec, position, silencers))
        findings.extend(_vain_overrides(spec, rule, position_of))
        findings.extend(_unknown_by_negation(spec, rule))
    return findings


def _shadowed(spec: Spec, rule: RuleSpec, silencers: tuple[int, ...]) -> Finding:
    meeting = (other for other in silencers if _first_cell(spec, rule, spec.rules[other]) is not None)
    related = tuple(
        Related(f"`{spec.rules[other].name}` overrides it", spec.rules[other].name_span)
        for other in islice(meeting, PLACES_SHOWN)
    )
    message = f"rule `{rule.name}` is overridden wherever it matches"
    return Finding(
        "shadowed-rule", Severity.WARNING, message, rule.name_span, related, _first_cell(spec, rule)
    )


def _override_cycles(spec: Spec, position: int, silencers: list[tuple[int, ...]]) -> list[Finding]:
    """Rules that override this one and that it overrides; each pair is reported at the first of the two."""
    rule = spec.rules[position]
    findings: list[Finding] = []
    for number in silencers[position]:
        other = spec.rules[number]
        if position not in silencers[number] or not rule.span < other.span:
            continue
        where = _first_cell(spec, rule, other)
        if where is None:
            continue
        message = f"rules `{rule.name}` and `{other.name}` override each other, so neither is active here"
        related = (Related("and back", other.place_of_override(rule.name)),)
        place = rule.place_of_override(other.name)
        fix = Fix("remove one of the two `overrides`")
        findings.append(Finding("override-cycle", Severity.ERROR, message, place, related, where, fix))
        if len(findings) == PLACES_SHOWN:
            break
    return findings


def _vain_overrides(spec: Spec, rule: RuleSpec, position_of: dict[str, int]) -> list[Finding]:
    """Rules that this one overrides by name and never meets."""
    findings = []
    for name in rule.overrides:
        if name in position_of and _first_cell(spec, rule, spec.rules[position_of[name]]) is None:
            message = f"rule `{rule.name}` overrides `{name}`, and they never match the same cell"
            place = rule.place_of_override(name)
            findings.append(Finding("override-no-overlap", Severity.WARNING, message, place))
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


def _first_cell(spec: Spec, *rules: RuleSpec) -> dict[str, int | str] | None:
    """The first cell that all of these rules match, in words; None where there is none."""
    layers = frozenset(spec.model.routed).intersection(
        *(rule.where.layers for rule in rules if rule.where.layers is not None)
    )
    codes = []
    for index, attribute in enumerate(spec.attributes):
        let_through = [c.codes for rule in rules for c in rule.where.conditions if c.attribute == index]
        left = (
            frozenset.intersection(*let_through) if let_through else frozenset(range(len(attribute.leaves)))
        )
        if not left:
            return None
        codes.append(min(left))
    return witness_of(spec, min(layers), codes) if layers else None


def _warning(name: str, message: str, rule: RuleSpec) -> Finding:
    return Finding(name, Severity.WARNING, message, rule.name_span)
