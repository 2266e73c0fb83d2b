"""The resolved program: every name looked up, every set a set of indices, every number exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Literal

from priorlang.diagnostics.span import Span
from priorlang.records import Record
from priorlang.semantics.exact import ExactValue, LayerRamp, Scalar
from priorlang.syntax.tree import Allow

UNKNOWN = "unknown"
"""The member that takes absent and unlisted values."""


class ModelShape(Record):
    """What the file knows of the model."""

    layers: int
    experts: int
    top_k: int
    routed: tuple[int, ...]
    span: Span


class AttributeSpec(Record):
    """An attribute: its leaf members in code order, and the codes that each parent stands for."""

    name: str
    leaves: tuple[str, ...]
    parents: Mapping[str, tuple[int, ...]]
    span: Span

    @cached_property
    def codes(self) -> Mapping[str, tuple[int, ...]]:
        """The codes of every member, leaf or parent."""
        leaves = {leaf: (code,) for code, leaf in enumerate(self.leaves)}
        return {**leaves, **self.parents}


class Condition(Record):
    """One term of a selector: the codes of one attribute that it lets through."""

    attribute: int
    codes: frozenset[int]
    negated: bool
    span: Span


class Where(Record):
    """A resolved selector: conditions joined by `and`, and decoder layers; None means all."""

    conditions: tuple[Condition, ...] = ()
    layers: frozenset[int] | None = None
    span: Span | None = None

    def matches(self, layer: int, codes: Sequence[int]) -> bool:
        """Whether it lets a cell through; `codes` has the member of each attribute."""
        in_layer = self.layers is None or layer in self.layers
        return in_layer and all(codes[item.attribute] in item.codes for item in self.conditions)


class BaseEffect(Record):
    """α before any preference."""

    value: ExactValue
    shares: tuple[tuple[Fraction, frozenset[int]], ...]
    span: Span


class PushEffect(Record):
    """`prefer` or `avoid`: `by` is added to, or taken from, each of these experts."""

    verb: Literal["prefer", "avoid"]
    experts: frozenset[int]
    by: Scalar
    span: Span


class WeightEffect(Record):
    """λ."""

    value: Scalar
    span: Span


class RuleSpec(Record):
    """A rule, or the default (which matches everywhere and is silenced by nothing)."""

    name: str
    where: Where
    span: Span
    name_span: Span
    base: BaseEffect | None = None
    pushes: tuple[PushEffect, ...] = ()
    weight: WeightEffect | None = None
    unshaped: Span | None = None
    split: frozenset[int] = frozenset()
    overrides_all: bool = False
    overrides: tuple[str, ...] = ()
    overrides_span: Span | None = None
    overrides_places: tuple[Span, ...] = ()
    imported: bool = False

    def place_of_override(self, name: str) -> Span:
        """Where the rule says that it overrides another: at that one's name, or at `all`."""
        if name in self.overrides:
            return self.overrides_places[self.overrides.index(name)]
        return self.overrides_span or self.name_span

    @property
    def varies(self) -> bool:
        """Whether a ramp makes this rule differ from layer to layer."""
        values: list[object] = [push.by for push in self.pushes]
        values.extend(effect.value for effect in (self.base, self.weight) if effect is not None)
        return any(isinstance(value, LayerRamp) for value in values)


Function = Literal["share", "load", "alpha"]


class MeasureSpec(Record):
    """`share`, `load` or `alpha` of a set of experts."""

    function: Function
    experts: frozenset[int]
    text: str


OperandSpec = MeasureSpec | Literal["weight"] | Fraction


class ExpectSpec(Record):
    """A claim about every matching cell. Without a sign it claims that the cell is unshaped."""

    where: Where
    span: Span
    text: str
    left: OperandSpec | None = None
    sign: Literal["<", "<=", "=", ">=", ">"] | None = None
    right: OperandSpec | None = None


class ScheduleSpec(Record):
    """Points (place, factor), in order; places count fractions of the shaped steps, or steps."""

    points: tuple[tuple[Fraction, Fraction], ...]
    unit: Literal["fraction", "step"]
    span: Span


class Negation(Record):
    """A `not` and what it ran over, for the finding about sets that a later file widens."""

    kind: Literal["experts", "layers", "members"]
    attribute: str | None
    file: str
    span: Span
    rule: str | None


class Spec(Record):
    """A whole prior, resolved."""

    file: str
    version: str
    model: ModelShape
    attributes: tuple[AttributeSpec, ...]
    default: RuleSpec
    rules: tuple[RuleSpec, ...]
    expects: tuple[ExpectSpec, ...]
    schedule: ScheduleSpec | None
    allows: tuple[Allow, ...]
    parameters: Mapping[str, ExactValue]
    groups: Mapping[tuple[str, str], frozenset[int]]
    negations: tuple[Negation, ...]
    imports: tuple[str, ...]
    conflicts_certain: bool = True
    """False where a rule that might silence others could not be resolved."""

    @property
    def class_count(self) -> int:
        """C, the number of token classes."""
        count = 1
        for attribute in self.attributes:
            count *= len(attribute.leaves)
        return count

    def rule(self, name: str) -> RuleSpec | None:
        """A rule by name."""
        return next((rule for rule in self.rules if rule.name == name), None)
