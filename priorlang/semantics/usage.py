"""Which declared names nothing uses."""

from __future__ import annotations

from collections.abc import Iterator

from priorlang.diagnostics.finding import Finding, Severity
from priorlang.semantics.imports import Program
from priorlang.syntax import tree as t

Use = tuple[str, str]
"""A kind of name (`parameter`, `experts`, `layers`, `attribute`) and the name."""


def unused_findings(program: Program) -> list[Finding]:
    """`unused-name`: parameters, groups and attributes of the root file, and imports, that do nothing.

    Names of imported files are theirs to keep: a library may offer more than one program needs.
    """
    used = {
        use
        for file in program.files.values()
        for statement in file.document.statements
        for use in _uses(statement)
    }
    root = program.files[program.root].document
    findings = []
    for statement in root.statements:
        declared = _declared(statement)
        if declared is None or declared in used:
            continue
        kind, name = declared
        what = f"group of {kind}" if kind in {"experts", "layers"} else kind
        sign = "$" if kind == "parameter" else ""
        place = statement.name.span if isinstance(statement, _NAMED) else statement.span
        message = f"{what} `{sign}{name}` is never used"
        findings.append(Finding("unused-name", Severity.WARNING, message, place))
    findings.extend(_unused_imports(program, used))
    return findings


_NAMED = (t.Parameter, t.Group, t.Attribute)


def _unused_imports(program: Program, used: set[Use]) -> Iterator[Finding]:
    for name, span in program.files[program.root].imports:
        files = {name, *program.below(name)}
        statements = [s for file in files for s in program.files[file].document.statements]
        if all(_idle(statement, used) for statement in statements):
            message = f"nothing of {program.files[name].source.name} is used"
            yield Finding("unused-name", Severity.WARNING, message, span)


def _idle(statement: t.Statement, used: set[Use]) -> bool:
    """Whether an imported statement has no effect: an unused name, or one that does not travel."""
    if isinstance(statement, t.Import | t.Expect | t.Allow):
        return True
    declared = _declared(statement)
    return declared is not None and declared not in used


def _declared(statement: t.Statement) -> Use | None:
    if isinstance(statement, t.Parameter):
        return "parameter", statement.name.text
    if isinstance(statement, t.Group):
        return statement.kind, statement.name.text
    if isinstance(statement, t.Attribute) and not statement.adds:
        return "attribute", statement.name.text
    return None


def _uses(statement: t.Statement) -> Iterator[Use]:
    """Every name that a statement refers to."""
    if isinstance(statement, t.Model):
        for setting in statement.settings:
            yield from names_in_set(setting.value, "layers")
    elif isinstance(statement, t.Group):
        yield from names_in_set(statement.value, statement.kind)
    elif isinstance(statement, t.Parameter):
        yield from names_in_value(statement.value)
    elif isinstance(statement, t.Attribute) and statement.adds:
        yield "attribute", statement.name.text
    elif isinstance(statement, t.Default):
        for effect in statement.effects:
            yield from _in_effect(effect)
    elif isinstance(statement, t.Rule):
        yield from _in_selector(statement.selector)
        for effect in statement.effects:
            yield from _in_effect(effect)
    elif isinstance(statement, t.Schedule):
        for point in statement.points:
            yield from names_in_value(point.place)
            yield from names_in_value(point.factor)
    elif isinstance(statement, t.Expect):
        yield from _in_selector(statement.selector)
        if isinstance(statement.claim, t.Comparison):
            for operand in (statement.claim.left, statement.claim.right):
                if isinstance(operand, t.Measure):
                    yield from names_in_set(operand.experts, "experts")
                elif isinstance(operand, t.Reference):
                    yield "parameter", operand.name


def _in_effect(effect: t.Effect) -> Iterator[Use]:
    if isinstance(effect, t.Base):
        yield from names_in_value(effect.value)
        for share in effect.shares:
            yield from names_in_value(share.amount)
            yield from names_in_set(share.experts, "experts")
    elif isinstance(effect, t.Push):
        yield from names_in_set(effect.experts, "experts")
        yield from names_in_value(effect.by)
    elif isinstance(effect, t.Weight):
        yield from names_in_value(effect.value)
    elif isinstance(effect, t.Split):
        for name in effect.attributes:
            yield "attribute", name.text


def _in_selector(selector: t.Selector | None) -> Iterator[Use]:
    if selector is None:
        return
    for term in selector.terms:
        yield "attribute", term.attribute.text
        yield from names_in_set(term.members, "member")
    if selector.layers is not None:
        yield from names_in_set(selector.layers, "layers")


def names_in_set(node: t.SetExpression, kind: str) -> Iterator[Use]:
    """Every name in a set of `experts`, `layers` or `member`s."""
    for item in node.items:
        if isinstance(item, t.Name):
            yield kind, item.text
        elif isinstance(item, t.Reference):
            yield "parameter", item.name
        elif isinstance(item, t.Range):
            for end in (item.first, item.last, item.step):
                if end is not None:
                    yield from names_in_value(end)


def names_in_value(value: t.Value) -> Iterator[Use]:
    """Every name in a value."""
    if isinstance(value, t.Reference):
        yield "parameter", value.name
    elif isinstance(value, t.Vector):
        for number in value.items:
            yield from names_in_value(number)
    elif isinstance(value, t.Ramp):
        yield from names_in_value(value.start)
        yield from names_in_value(value.stop)
        yield from names_in_set(value.layers, "layers")
