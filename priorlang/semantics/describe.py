"""Resolved rules in words: groups and parameters worked out, members in the order of their declaration."""

from __future__ import annotations

from collections.abc import Iterable

from priorlang.semantics.exact import ExactValue, LayerRamp, decimal_text
from priorlang.semantics.spec import ExpectSpec, MeasureSpec, OperandSpec, RuleSpec, Spec, Where
from priorlang.syntax.phrases import quoted


def describe_rule(spec: Spec, rule: RuleSpec) -> str:
    """A rule with its groups and parameters worked out: `for modality vision prefer 0..1 by 0.5`."""
    words = []
    if rule.overrides_all:
        words.append("overrides all")
    elif rule.overrides:
        words.append(f"overrides {', '.join(quoted(name) for name in sorted(rule.overrides))}")
    where = describe_where(spec, rule.where)
    if where:
        words.append(where)
    if rule.base is not None:
        words.append(f"base {describe_value(rule.base.value)}")
        shares = sorted((index_set(experts), amount) for amount, experts in rule.base.shares)
        words.extend(f"share {decimal_text(amount)} to {experts}" for experts, amount in shares)
    pushes = sorted((push.verb, index_set(push.experts), describe_value(push.by)) for push in rule.pushes)
    words.extend(f"{verb} {experts} by {by}" for verb, experts, by in pushes)
    if rule.weight is not None:
        words.append(f"weight {describe_value(rule.weight.value)}")
    if rule.unshaped is not None:
        words.append("unshaped")
    if rule.split:
        words.append(f"split by {', '.join(spec.attributes[index].name for index in sorted(rule.split))}")
    return " ".join(words)


def describe_where(spec: Spec, where: Where) -> str:
    """A selector in words; empty where it selects everything."""
    words = []
    for condition in sorted(where.conditions, key=lambda item: item.attribute):
        attribute = spec.attributes[condition.attribute]
        members = " | ".join(quoted(attribute.leaves[code]) for code in sorted(condition.codes))
        words.append(f"{attribute.name} {members}")
    text = f"for {' and '.join(words)}" if words else ""
    if where.layers is not None:
        text = f"{text} in layers {index_set(where.layers)}".strip()
    return text


def describe_expect(spec: Spec, expect: ExpectSpec) -> str:
    """An expectation with its groups worked out: `expect share(0..1) > 0.6 for modality vision`."""
    if expect.left is None or expect.sign is None or expect.right is None:
        claim = "unshaped"
    else:
        claim = f"{_describe_operand(expect.left)} {expect.sign} {_describe_operand(expect.right)}"
    return f"expect {claim} {describe_where(spec, expect.where)}".rstrip()


def _describe_operand(operand: OperandSpec) -> str:
    if isinstance(operand, MeasureSpec):
        return f"{operand.function}({index_set(operand.experts)})"
    return operand if isinstance(operand, str) else decimal_text(operand)


def describe_value(value: ExactValue) -> str:
    """A value as the language writes it."""
    if isinstance(value, LayerRamp):
        ends = f"{decimal_text(value.start)} to {decimal_text(value.stop)}"
        return f"ramp {ends} over layers {value.first}..{value.last}"
    if isinstance(value, tuple):
        return f"({', '.join(decimal_text(item) for item in value)})"
    return decimal_text(value)


def index_set(indices: Iterable[int]) -> str:
    """Experts or layers in the language's own set syntax: `0..3 | 7`."""
    parts: list[tuple[int, int]] = []
    for index in sorted(indices):
        if parts and parts[-1][1] == index - 1:
            parts[-1] = (parts[-1][0], index)
        else:
            parts.append((index, index))
    return " | ".join(f"{first}..{last}" if first < last else str(first) for first, last in parts)
