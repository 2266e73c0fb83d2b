"""Rules and expectations of two priors: matched by name, then by effect; how they are written does not count."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from priorlang.semantics.describe import describe_expect, describe_rule
from priorlang.semantics.spec import BaseEffect, ExpectSpec, MeasureSpec, OperandSpec, RuleSpec, Spec, Where


@dataclass(frozen=True)
class RuleChange:
    """A rule that both sides have under one name, and that does something else."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class RuleDifference:
    """Rules in words, (name, words); and (old name, new name) of those that are only called otherwise."""

    added: tuple[tuple[str, str], ...] = ()
    removed: tuple[tuple[str, str], ...] = ()
    changed: tuple[RuleChange, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ExpectationDifference:
    """Expectations that one side lacks. They are tests of a file: they do not change what it asks for."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def compare_rules(before: Spec | None, after: Spec | None) -> RuleDifference:
    """Rules that differ. None is a side without any; of a table alone nothing can be said, so leave it out."""
    old, new = _rules(before), _rules(after)
    names = _matched(before, after)
    changed = tuple(
        RuleChange(name, describe_rule(before, old[name]), describe_rule(after, new[name]))
        for name in old
        if before is not None
        and after is not None
        and names.get(name) == name
        and _effect(before, old[name], names) != _effect(after, new[name], {})
    )
    return RuleDifference(
        tuple(
            (name, describe_rule(after, rule))
            for name, rule in new.items()
            if after is not None and name not in names.values()
        ),
        tuple(
            (name, describe_rule(before, rule))
            for name, rule in old.items()
            if before is not None and name not in names
        ),
        changed,
        tuple((name, other) for name, other in names.items() if name != other),
    )


def compare_expectations(before: Spec | None, after: Spec | None) -> ExpectationDifference:
    """Expectations that were added or removed; a changed one is both."""
    old, new = _expectations(before), _expectations(after)
    return ExpectationDifference(
        tuple(words for meaning, words in new.items() if meaning not in old),
        tuple(words for meaning, words in old.items() if meaning not in new),
    )


def _rules(spec: Spec | None) -> dict[str, RuleSpec]:
    return {} if spec is None else {rule.name: rule for rule in (spec.default, *spec.rules)}


def _matched(before: Spec | None, after: Spec | None) -> dict[str, str]:
    """The new name of every old rule that is still there.

    Rules name each other in `overrides`, so a match by effect may let others be matched: until nothing moves.
    """
    old, new = _rules(before), _rules(after)
    names = {name: name for name in old if name in new}
    if before is None or after is None:
        return names
    moved = True
    while moved:
        moved = False
        taken = set(names.values())
        free: dict[Hashable, list[str]] = {}
        for name, rule in new.items():
            if name not in taken:
                free.setdefault(_effect(after, rule, {}), []).append(name)
        for name, rule in old.items():
            same = free.get(_effect(before, rule, names)) if name not in names else None
            if same:
                names[name] = same.pop(0)
                moved = True
    return names


def _effect(spec: Spec, rule: RuleSpec, names: Mapping[str, str]) -> Hashable:
    """What a rule does, by names; `names` are the new ones of the rules it overrides."""
    pushes = sorted(((push.verb, sorted(push.experts), repr(push.by)) for push in rule.pushes), key=repr)
    return (
        rule.overrides_all,
        frozenset(names.get(name, name) for name in rule.overrides),
        _where(spec, rule.where),
        _base(rule.base),
        repr(pushes),
        None if rule.weight is None else repr(rule.weight.value),
        rule.unshaped is not None,
        frozenset(spec.attributes[index].name for index in rule.split),
    )


def _where(spec: Spec, where: Where) -> Hashable:
    conditions = frozenset(
        (
            spec.attributes[item.attribute].name,
            frozenset(spec.attributes[item.attribute].leaves[code] for code in item.codes),
        )
        for item in where.conditions
    )
    return conditions, where.layers


def _base(base: BaseEffect | None) -> Hashable:
    return None if base is None else (repr(base.value), frozenset(base.shares))


def _expectations(spec: Spec | None) -> dict[Hashable, str]:
    if spec is None:
        return {}
    return {_claim(spec, expect): describe_expect(spec, expect) for expect in spec.expects}


def _claim(spec: Spec, expect: ExpectSpec) -> Hashable:
    return _where(spec, expect.where), _operand(expect.left), expect.sign, _operand(expect.right)


def _operand(operand: OperandSpec | None) -> Hashable:
    return (operand.function, operand.experts) if isinstance(operand, MeasureSpec) else operand
