"""`allow FINDING [in RULE, …] because "…"`: what the author has looked at and wants."""

from __future__ import annotations

from priorlang.diagnostics.finding import Edit, Finding, Fix, Severity
from priorlang.diagnostics.span import Span
from priorlang.diagnostics.suggest import closest
from priorlang.semantics.spec import Spec
from priorlang.syntax.tree import Allow, Name

BY_FILE = frozenset(
    {
        *("unknown-by-negation", "contested-expert", "uncovered-class", "extreme-alpha", "coarse-marginal"),
        *("weak-preference", "starved-class"),
    }
)
"""Opinions that stand on the file alone. The others stand on shares or routing too, which differ from run to run."""
BY_SHARES = frozenset({"load-imbalance", "shortfall", "unseen-class"})
BY_BATCH = frozenset({"small-population"})
IDLE = "this `allow` silences nothing"


def idle(
    spec: Spec, findings: list[Finding], judged: frozenset[str] = BY_FILE, given: str = ""
) -> list[Finding]:
    """`unused-name` for each `allow` of an opinion that silences none of all findings about a prior.

    Args:
        spec: the prior.
        findings: every finding, before any is silenced.
        judged: the opinions that were formed.
        given: what they stand on beside the file, `these token shares`. Such an `allow` may be for another run,
            so it is a remark and no warning.
    """
    return [
        Finding(
            "unused-name",
            Severity.INFO if given else Severity.WARNING,
            f"{IDLE}: there is no `{statement.finding.text}` {f'with {given}' if given else 'here'}",
            statement.finding.span,
        )
        for statement in spec.allows
        if statement.finding.text in judged
        and not any(_silences(spec, statement, finding) for finding in findings)
    ]


def allowed(spec: Spec, findings: list[Finding]) -> list[Finding]:
    """The findings that no `allow` silences, and those about the `allow` lines themselves."""
    kept = [finding for finding in findings if not silenced(spec, finding)]
    for statement in spec.allows:
        kept.extend(_mistakes(spec, statement))
    return kept


def silenced(spec: Spec, finding: Finding) -> bool:
    """Whether an `allow` of the prior is about this finding."""
    return any(_silences(spec, statement, finding) for statement in spec.allows)


def _silences(spec: Spec, statement: Allow, finding: Finding) -> bool:
    from priorlang.diagnostics.registry import REGISTRY

    if statement.finding.text != finding.name or not REGISTRY[finding.name].heuristic:
        return False
    if not statement.rules:
        return True
    rules = [spec.rule(name.text) for name in statement.rules]
    return any(rule is not None and _within(finding.span, rule.span) for rule in rules)


def _mistakes(spec: Spec, statement: Allow) -> list[Finding]:
    from priorlang.diagnostics.registry import REGISTRY

    findings = []
    name = statement.finding
    if name.text not in REGISTRY:
        findings.append(_unknown("finding", name, list(REGISTRY)))
    elif not REGISTRY[name.text].heuristic:
        message = f"`{name.text}` is a fact, not an opinion, and cannot be allowed"
        findings.append(Finding("invalid-value", Severity.ERROR, message, name.span))
    known = [rule.name for rule in spec.rules]
    findings.extend(_unknown("rule", rule, known) for rule in statement.rules if rule.text not in known)
    return findings


def _unknown(kind: str, name: Name, known: list[str]) -> Finding:
    meant = closest(name.text, known)
    hint = f"; did you mean `{meant}`?" if meant else ""
    fix = Fix(f"write `{meant}`", (Edit(name.span, meant),)) if meant else None
    message = f"there is no {kind} `{name.text}`{hint}"
    return Finding("unknown-name", Severity.ERROR, message, name.span, fix=fix)


def _within(inner: Span, outer: Span) -> bool:
    return inner.file == outer.file and outer.start <= inner.start and inner.end <= outer.end
