"""Findings that the evaluated cells prove: conflicts, missing bases, and concentrations out of range."""

from __future__ import annotations

import math

from priorlang.checks.witness import witness
from priorlang.diagnostics.finding import Edit, Finding, Fix, Related, Severity
from priorlang.diagnostics.span import Span
from priorlang.semantics.exact import rounded
from priorlang.semantics.spec import RuleSpec
from priorlang.syntax.phrases import quoted
from priorlang.table.cells import CellPrior, Cells, Clash, Gap


def cell_findings(cells: Cells) -> list[Finding]:
    """`conflict`, `missing-default`, `invalid-alpha` and `invalid-weight`, each with a witness cell."""
    findings = [_conflict(cells, clash) for clash in cells.clashes]
    findings.extend(_gap(cells, gap) for gap in cells.gaps)
    findings.extend(_dirichlet_findings(cells))
    return findings


def _conflict(cells: Cells, clash: Clash) -> Finding:
    first, second = sorted((clash.first, clash.second), key=lambda rule: rule.span)
    place, other = _effect_span(second, clash.effect), _effect_span(first, clash.effect)
    message = f"rules `{first.name}` and `{second.name}` write a different {clash.effect} to the same cell"
    return Finding(
        "conflict",
        Severity.ERROR,
        message,
        place,
        (Related(f"`{first.name}` writes its {clash.effect} here", other),),
        witness(cells.spec, clash.layer, clash.token_class),
        _override_fix(second, first),
    )


def _override_fix(winner: RuleSpec, loser: RuleSpec) -> Fix:
    """Let the later rule override the earlier one."""
    name = quoted(loser.name)
    message = f"if `{winner.name}` is the exception, write `overrides {name}` in it"
    if winner.span.file.endswith((".yaml", ".yml")):
        return Fix(message)
    if winner.overrides_span is not None:
        end = winner.overrides_span.end
        return Fix(message, (Edit(Span(winner.span.file, end, end), f", {name}"),), automatic=False)
    end = winner.name_span.end
    return Fix(message, (Edit(Span(winner.span.file, end, end), f" overrides {name}"),), automatic=False)


def _gap(cells: Cells, gap: Gap) -> Finding:
    if gap.rule is cells.spec.default:
        message = f"`default` states no {gap.effect}, and no rule does for this cell"
    else:
        message = f"rule `{gap.rule.name}` shapes a cell to which nothing gives a {gap.effect}"
    fix = Fix(f"state a {gap.effect} in `default`, or in the rule")
    where = witness(cells.spec, gap.layer, gap.token_class)
    return Finding("missing-default", Severity.ERROR, message, gap.rule.span, (), where, fix)


def _dirichlet_findings(cells: Cells) -> list[Finding]:
    """The first cell of each signature in which α or λ cannot be used."""
    findings: list[Finding] = []
    seen: set[tuple[str, Span]] = set()
    for (signature, layer_position), prior in cells.priors.items():
        if prior is None:
            continue
        problem = _problem(prior)
        if problem is None:
            continue
        name, message = problem
        place = _culprit(cells, signature, name)
        if (name, place) in seen:
            continue
        seen.add((name, place))
        position, token_class = cells.first_cell(signature, layer_position)
        where = witness(cells.spec, cells.spec.model.routed[position], token_class)
        findings.append(Finding(name, Severity.ERROR, message, place, (), where))
    return findings


def _problem(prior: CellPrior) -> tuple[str, str] | None:
    for expert, alpha in enumerate(prior.alpha):
        value = rounded(alpha)
        if alpha <= 0 or value == 0:
            return "invalid-alpha", f"α of expert {expert} comes to {value:g}; it must be above 0"
        if not math.isfinite(value):
            return "invalid-alpha", f"α of expert {expert} is too large for a 64-bit number"
    if not math.isfinite(rounded(sum(prior.alpha, start=prior.alpha[0] * 0))):
        return "invalid-alpha", "the sum of α is too large for a 64-bit number"
    if not math.isfinite(rounded(prior.weight)):
        return "invalid-weight", "the weight is too large for a 64-bit number"
    return None


def _culprit(cells: Cells, signature: int, name: str) -> Span:
    """The clause to look at: what lowers α, else what states the base or the weight."""
    rules = [cells.spec.rules[position] for position in cells.active[signature]]
    if name == "invalid-alpha":
        for rule in rules:
            for push in rule.pushes:
                if push.verb == "avoid":
                    return push.span
    effect = "weight" if name == "invalid-weight" else "base"
    for rule in [*rules, cells.spec.default]:
        if getattr(rule, effect) is not None:
            return _effect_span(rule, effect)
    return cells.spec.default.span


def _effect_span(rule: RuleSpec, effect: str) -> Span:
    stated = rule.base if effect == "base" else rule.weight
    return rule.span if stated is None else stated.span
