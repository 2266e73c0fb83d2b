"""Rules, the default and `expect` lines, resolved."""

from __future__ import annotations

from fractions import Fraction
from typing import cast

from priorlang.diagnostics.finding import Finding, Related, Severity
from priorlang.diagnostics.span import Span
from priorlang.diagnostics.suggest import closest
from priorlang.records import replace
from priorlang.semantics.imports import Program
from priorlang.semantics.scope import Scope
from priorlang.semantics.sets import Sets
from priorlang.semantics.spec import (
    AttributeSpec,
    BaseEffect,
    Condition,
    ExpectSpec,
    Function,
    MeasureSpec,
    OperandSpec,
    PushEffect,
    RuleSpec,
    WeightEffect,
    Where,
)
from priorlang.semantics.values import Values, unknown_name
from priorlang.syntax import tree as t

_MEASURES = ("share", "load", "alpha")


class RuleResolver:
    """Resolves what selects and what acts. A statement with a mistake in it gives None and findings."""

    def __init__(
        self,
        program: Program,
        scope: Scope,
        sets: Sets,
        values: Values,
        attributes: tuple[AttributeSpec, ...],
        findings: list[Finding],
    ) -> None:
        self.program = program
        self.scope = scope
        self.sets = sets
        self.values = values
        self.attributes = {attribute.name: attribute for attribute in attributes}
        self.positions = {attribute.name: index for index, attribute in enumerate(attributes)}
        self.findings = findings

    # --- statements ------------------------------------------------------------------------------

    def default(self, statement: t.Default) -> RuleSpec | None:
        before = len(self.findings)
        for effect in statement.effects:
            if isinstance(effect, t.Push):
                message = f"`default` states base, weight, split or unshaped; put `{effect.verb}` in a rule"
                self.error("misplaced-clause", message, effect.span)
        spec = self.effects("default", statement.effects, Where(), statement.span, statement.span)
        return spec if len(self.findings) == before else None

    def rule(self, statement: t.Rule) -> RuleSpec | None:
        before = len(self.findings)
        name = statement.name.text
        where = self.where(statement.selector, name)
        self.overrides(statement)
        spec = self.effects(name, statement.effects, where, statement.span, statement.name.span)
        if len(self.findings) > before:
            return None
        overrides = statement.overrides
        return replace(
            spec,
            overrides_all=overrides is not None and overrides.everything,
            overrides=tuple(item.text for item in overrides.rules) if overrides else (),
            overrides_span=overrides.span if overrides else None,
            overrides_places=tuple(item.span for item in overrides.rules) if overrides else (),
            imported=statement.span.file != self.program.root,
        )

    def expect(self, statement: t.Expect) -> ExpectSpec | None:
        before = len(self.findings)
        where = self.where(statement.selector, None)
        text = self.source_text(statement.span)
        if isinstance(statement.claim, t.Unshaped):
            return ExpectSpec(where, statement.span, text) if len(self.findings) == before else None
        left, right = self.operand(statement.claim.left), self.operand(statement.claim.right)
        if left is None or right is None or len(self.findings) > before:
            return None
        return ExpectSpec(where, statement.span, text, left, statement.claim.sign, right)

    # --- selectors -------------------------------------------------------------------------------

    def where(self, selector: t.Selector | None, rule: str | None) -> Where:
        if selector is None:
            return Where()
        conditions = []
        seen: dict[str, Span] = {}
        for term in selector.terms:
            name = term.attribute.text
            if name in seen:
                related = (Related("first here", seen[name]),)
                message = f"`{name}` is selected twice; join its members with `|`"
                self.error("duplicate-clause", message, term.span, related)
                continue
            seen[name] = term.span
            attribute = self.attributes.get(name)
            if attribute is None:
                if not self.scope.is_broken("attribute", name):
                    known = list(self.attributes)
                    self.findings.append(unknown_name("attribute", name, known, term.attribute.span))
                continue
            codes = self.sets.members(attribute, term.members, rule)
            if codes is not None:
                negated = term.members.negated
                conditions.append(Condition(self.positions[name], codes, negated, term.span))
        layers = self.sets.indices("layers", selector.layers, rule) if selector.layers else None
        return Where(tuple(conditions), layers, selector.span)

    def overrides(self, statement: t.Rule) -> None:
        for name in statement.overrides.rules if statement.overrides else ():
            if name.text == statement.name.text:
                self.error("override-cycle", f"rule `{name.text}` overrides itself", name.span)
            elif name.text not in self.scope.rules and not self.scope.is_broken("rule", name.text):
                self.findings.append(unknown_name("rule", name.text, list(self.scope.rules), name.span))

    # --- effects ---------------------------------------------------------------------------------

    def effects(
        self, name: str, effects: tuple[t.Effect, ...], where: Where, span: Span, name_span: Span
    ) -> RuleSpec:
        base: BaseEffect | None = None
        weight: WeightEffect | None = None
        unshaped: Span | None = None
        pushes: list[PushEffect] = []
        split: set[int] = set()
        first: dict[type[t.Effect], Span] = {}
        for effect in effects:
            if isinstance(effect, t.Base | t.Weight | t.Unshaped) and type(effect) in first:
                word = type(effect).__name__.lower()
                related = (Related("first here", first[type(effect)]),)
                self.error("duplicate-clause", f"`{word}` stands twice in one rule", effect.span, related)
                continue
            first[type(effect)] = effect.span
            if isinstance(effect, t.Base):
                base = self.base(effect)
            elif isinstance(effect, t.Push):
                push = self.push(effect)
                pushes.extend([push] if push is not None else [])
            elif isinstance(effect, t.Weight):
                value = self.values.scalar(effect.value, "`weight`")
                weight = WeightEffect(value, effect.span) if value is not None else None
            elif isinstance(effect, t.Split):
                split.update(self.split(effect))
            else:
                unshaped = effect.span
        if unshaped is not None and (base or weight or pushes):
            self.error("duplicate-clause", "`unshaped` leaves nothing for other clauses to shape", unshaped)
        return RuleSpec(name, where, span, name_span, base, tuple(pushes), weight, unshaped, frozenset(split))

    def base(self, effect: t.Base) -> BaseEffect | None:
        value = self.values.value(effect.value)
        experts = self.sets.sizes.get("experts")
        if value is None or experts is None:
            return None
        if isinstance(value, tuple) and len(value) != experts:
            message = f"this vector has {len(value)} numbers, and the model has {experts} experts"
            self.error("expert-count", message, effect.value.span)
            return None
        if effect.shares and not isinstance(value, Fraction):
            self.error("invalid-value", "shares divide a number, not a vector or a ramp", effect.value.span)
            return None
        shares = self.shares(effect, experts)
        return None if shares is None else BaseEffect(value, shares, effect.span)

    def shares(self, effect: t.Base, experts: int) -> tuple[tuple[Fraction, frozenset[int]], ...] | None:
        found: list[tuple[Fraction, frozenset[int]]] = []
        taken: set[int] = set()
        for share in effect.shares:
            amount, target = self.values.number(share.amount), self.sets.indices("experts", share.experts)
            if amount is None or target is None:
                return None
            if taken & target:
                message = f"expert {min(taken & target)} has a share already"
                self.error("out-of-range", message, share.experts.span)
                return None
            taken |= target
            found.append((amount, target))
        total = sum((amount for amount, _ in found), Fraction(0))
        if total > 1:
            self.error("out-of-range", f"the shares sum to {float(total):g}, above 1", effect.span)
            return None
        if found and len(taken) == experts and total != 1:
            message = f"the shares cover every expert and sum to {float(total):g}, not to 1"
            self.error("out-of-range", message, effect.span)
            return None
        return tuple(found)

    def push(self, effect: t.Push) -> PushEffect | None:
        experts = self.sets.indices("experts", effect.experts)
        by = self.values.scalar(effect.by, f"`{effect.verb} … by`")
        return None if experts is None or by is None else PushEffect(effect.verb, experts, by, effect.span)

    def split(self, effect: t.Split) -> set[int]:
        found = set()
        for name in effect.attributes:
            if name.text in self.positions:
                found.add(self.positions[name.text])
            elif not self.scope.is_broken("attribute", name.text):
                self.findings.append(unknown_name("attribute", name.text, list(self.attributes), name.span))
        return found

    # --- expectations ----------------------------------------------------------------------------

    def operand(self, node: t.Operand) -> OperandSpec | None:
        if isinstance(node, t.WeightOf):
            return "weight"
        if isinstance(node, t.NumberLiteral | t.Reference):
            return self.values.number(node)
        name = node.function.text
        if name not in _MEASURES:
            meant = closest(name, _MEASURES)
            hint = f"did you mean `{meant}`?" if meant else "there are share, load, alpha and weight"
            self.error("unknown-name", f"there is no measure `{name}`; {hint}", node.function.span)
            return None
        experts = self.sets.indices("experts", node.experts)
        if experts is None:
            return None
        if name == "alpha" and len(experts) != 1:
            self.error(
                "out-of-range", "`alpha` looks at one expert; for several use `share`", node.experts.span
            )
            return None
        return MeasureSpec(cast("Function", name), experts, self.source_text(node.span))

    def source_text(self, span: Span) -> str:
        """The words of the source at a span, on one line."""
        lines = self.program.files[span.file].source.text.split("\n")[span.start.line - 1 : span.end.line]
        if not lines:
            return ""
        lines[-1] = lines[-1][: span.end.column - 1]
        lines[0] = lines[0][span.start.column - 1 :]
        words = " ".join(" ".join(line.split("#", 1)[0] for line in lines).split())
        return words.removeprefix("expect ")

    def error(self, name: str, message: str, span: Span, related: tuple[Related, ...] = ()) -> None:
        self.findings.append(Finding(name, Severity.ERROR, message, span, related))
