"""The syntax tree: what a prior file says, before any name in it is looked up.

Both forms of the language, the DSL and YAML, parse to this one tree. Trees compare by what they
say: spans take no part in equality. Numbers keep the text they were written in, so that arithmetic
on them can be exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from priorlang.diagnostics.span import Span

# --- Words and numbers ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Name:
    """A name, quoted in the source or not: `vision`, `"with space"`."""

    text: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class NumberLiteral:
    """A number as written: `0.75`, `1e-3`."""

    text: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Reference:
    """A parameter where a number may stand: `$boost`."""

    name: str
    span: Span = field(compare=False)


Number = NumberLiteral | Reference

# --- The one set syntax --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Range:
    """`4..11`, `12..`, `..11`, `1..23 step 2`; both ends belong to it."""

    first: Number | None
    last: Number | None
    step: Number | None
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class All:
    """The word `all`."""

    span: Span = field(compare=False)


SetItem = Name | NumberLiteral | Reference | Range | All


@dataclass(frozen=True, slots=True)
class SetExpression:
    """Items joined by `|`, with `not` over the whole of them."""

    negated: bool
    items: tuple[SetItem, ...]
    span: Span = field(compare=False)


# --- Values --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Vector:
    """One number for each expert: `(3, 1, 0.5)`."""

    items: tuple[Number, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Ramp:
    """`ramp 0.0 to 0.5 over layers 12..60`: linear in the layer, constant outside."""

    start: Number
    stop: Number
    layers: SetExpression
    span: Span = field(compare=False)


Value = NumberLiteral | Reference | Vector | Ramp

# --- Effects: what a rule does -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Share:
    """`share 0.6 to visual`: this part of the concentration A goes to these experts, evenly."""

    amount: Number
    experts: SetExpression
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Base:
    """`base 0.75`, with or without shares."""

    value: Value
    shares: tuple[Share, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Push:
    """`prefer visual by 0.5`, or `avoid`."""

    verb: Literal["prefer", "avoid"]
    experts: SetExpression
    by: Value
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Weight:
    """`weight 0.01`: λ."""

    value: Value
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Unshaped:
    """`unshaped`: leave the tokens alone."""

    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Split:
    """`split by dataset`: a population of its own for each member."""

    attributes: tuple[Name, ...]
    span: Span = field(compare=False)


Effect = Base | Push | Weight | Unshaped | Split

# --- Selectors: where it does it -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Term:
    """`modality vision` in `for modality vision and task ocr`."""

    attribute: Name
    members: SetExpression
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Selector:
    """`for … and … in layers …`; each part may be absent, and absent means everywhere."""

    terms: tuple[Term, ...]
    layers: SetExpression | None
    span: Span = field(compare=False)


# --- Statements ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Import:
    """`import "base.prior"`."""

    path: Name
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Setting:
    """`layers = 24` in `model { … }`."""

    key: Name
    value: SetExpression
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Model:
    """`model { layers = 24  experts = 8  top_k = 2 }`."""

    settings: tuple[Setting, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an attribute; one with children is a parent and stands for its leaves."""

    name: Name
    children: tuple[Member, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Attribute:
    """`attribute task { caption, reading { ocr, chart } }`; `adds` extends an imported one."""

    name: Name
    adds: bool
    members: tuple[Member, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Group:
    """`experts visual = 0..3` or `layers early = ..11`."""

    kind: Literal["experts", "layers"]
    name: Name
    value: SetExpression
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Parameter:
    """`param boost = 0.5`."""

    name: Name
    value: Value
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Default:
    """`default base 0.75 weight 0.01`, or `default unshaped`."""

    effects: tuple[Effect, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Overrides:
    """`overrides all`, or the names of the rules that are silenced."""

    everything: bool
    rules: tuple[Name, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """`rule vision: for modality vision prefer visual by 0.5`."""

    name: Name
    overrides: Overrides | None
    selector: Selector | None
    effects: tuple[Effect, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Point:
    """`5%: 1.0` in a schedule; without `%` the place is a number of steps."""

    place: Number
    percent: bool
    factor: Number
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Schedule:
    """`schedule { 0%: 0.0, 5%: 1.0 }`."""

    points: tuple[Point, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Measure:
    """`share(visual)`, `load(visual)` or `alpha(0)`."""

    function: Name
    experts: SetExpression
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class WeightOf:
    """The word `weight` as an operand of `expect`."""

    span: Span = field(compare=False)


Operand = Measure | WeightOf | NumberLiteral | Reference


@dataclass(frozen=True, slots=True)
class Comparison:
    """`share(visual) > 0.6`."""

    left: Operand
    sign: Literal["<", "<=", "=", ">=", ">"]
    right: Operand
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Expect:
    """`expect share(visual) > 0.6 for modality vision`, or `expect unshaped …`."""

    claim: Comparison | Unshaped
    selector: Selector | None
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Allow:
    """`allow weak-preference in vision because "on purpose"`."""

    finding: Name
    rules: tuple[Name, ...]
    because: Name
    span: Span = field(compare=False)


Statement = Import | Model | Attribute | Group | Parameter | Default | Rule | Schedule | Expect | Allow


@dataclass(frozen=True, slots=True)
class Broken:
    """A statement that could not be read, and the name it was about to declare, if that much was plain."""

    keyword: str
    name: str | None
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Comment:
    """`# …`, with its place."""

    text: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Document:
    """One file."""

    version: NumberLiteral | None
    statements: tuple[Statement, ...]
    span: Span = field(compare=False)
    broken: tuple[Broken, ...] = field(default=(), compare=False)
    comments: tuple[Comment, ...] = field(default=(), compare=False)
