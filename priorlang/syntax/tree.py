"""The syntax tree: what a prior file says, before any name in it is looked up.

Both forms of the language, the DSL and YAML, parse to this one tree. Trees compare by what they
say: spans take no part in equality. Numbers keep the text they were written in, so that arithmetic
on them can be exact.
"""

from __future__ import annotations

from typing import Literal

from priorlang.diagnostics.span import Span
from priorlang.records import Record


class Node(Record, uncompared=("span",)):
    """A part of the tree. It compares by what it says, not by where it says it."""


# --- Words and numbers ---------------------------------------------------------------------------


class Name(Node):
    """A name, quoted in the source or not: `vision`, `"with space"`."""

    text: str
    span: Span


class NumberLiteral(Node):
    """A number as written: `0.75`, `1e-3`."""

    text: str
    span: Span


class Reference(Node):
    """A parameter where a number may stand: `$boost`."""

    name: str
    span: Span


Number = NumberLiteral | Reference

# --- The one set syntax --------------------------------------------------------------------------


class Range(Node):
    """`4..11`, `12..`, `..11`, `1..23 step 2`; both ends belong to it."""

    first: Number | None
    last: Number | None
    step: Number | None
    span: Span


class All(Node):
    """The word `all`."""

    span: Span


SetItem = Name | NumberLiteral | Reference | Range | All


class SetExpression(Node):
    """Items joined by `|`, with `not` over the whole of them."""

    negated: bool
    items: tuple[SetItem, ...]
    span: Span


# --- Values --------------------------------------------------------------------------------------


class Vector(Node):
    """One number for each expert: `(3, 1, 0.5)`."""

    items: tuple[Number, ...]
    span: Span


class Ramp(Node):
    """`ramp 0.0 to 0.5 over layers 12..60`: linear in the layer, constant outside."""

    start: Number
    stop: Number
    layers: SetExpression
    span: Span


Value = NumberLiteral | Reference | Vector | Ramp

# --- Effects: what a rule does -------------------------------------------------------------------


class Share(Node):
    """`share 0.6 to visual`: this part of the concentration A goes to these experts, evenly."""

    amount: Number
    experts: SetExpression
    span: Span


class Base(Node):
    """`base 0.75`, with or without shares."""

    value: Value
    shares: tuple[Share, ...]
    span: Span


class Push(Node):
    """`prefer visual by 0.5`, or `avoid`."""

    verb: Literal["prefer", "avoid"]
    experts: SetExpression
    by: Value
    span: Span


class Weight(Node):
    """`weight 0.01`: λ."""

    value: Value
    span: Span


class Unshaped(Node):
    """`unshaped`: leave the tokens alone."""

    span: Span


class Split(Node):
    """`split by dataset`: a population of its own for each member."""

    attributes: tuple[Name, ...]
    span: Span


Effect = Base | Push | Weight | Unshaped | Split

# --- Selectors: where it does it -----------------------------------------------------------------


class Term(Node):
    """`modality vision` in `for modality vision and task ocr`."""

    attribute: Name
    members: SetExpression
    span: Span


class Selector(Node):
    """`for … and … in layers …`; each part may be absent, and absent means everywhere."""

    terms: tuple[Term, ...]
    layers: SetExpression | None
    span: Span


# --- Statements ----------------------------------------------------------------------------------


class Import(Node):
    """`import "base.prior"`."""

    path: Name
    span: Span


class Setting(Node):
    """`layers = 24` in `model { … }`."""

    key: Name
    value: SetExpression
    span: Span


class Model(Node):
    """`model { layers = 24  experts = 8  top_k = 2 }`."""

    settings: tuple[Setting, ...]
    span: Span


class Member(Node):
    """A member of an attribute; one with children is a parent and stands for its leaves."""

    name: Name
    children: tuple[Member, ...]
    span: Span


class Attribute(Node):
    """`attribute task { caption, reading { ocr, chart } }`; `adds` extends an imported one."""

    name: Name
    adds: bool
    members: tuple[Member, ...]
    span: Span


class Group(Node):
    """`experts visual = 0..3` or `layers early = ..11`."""

    kind: Literal["experts", "layers"]
    name: Name
    value: SetExpression
    span: Span


class Parameter(Node):
    """`param boost = 0.5`."""

    name: Name
    value: Value
    span: Span


class Default(Node):
    """`default base 0.75 weight 0.01`, or `default unshaped`."""

    effects: tuple[Effect, ...]
    span: Span


class Overrides(Node):
    """`overrides all`, or the names of the rules that are silenced."""

    everything: bool
    rules: tuple[Name, ...]
    span: Span


class Rule(Node):
    """`rule vision: for modality vision prefer visual by 0.5`."""

    name: Name
    overrides: Overrides | None
    selector: Selector | None
    effects: tuple[Effect, ...]
    span: Span


class Point(Node):
    """`5%: 1.0` in a schedule; without `%` the place is a number of steps."""

    place: Number
    percent: bool
    factor: Number
    span: Span


class Schedule(Node):
    """`schedule { 0%: 0.0, 5%: 1.0 }`."""

    points: tuple[Point, ...]
    span: Span


class Measure(Node):
    """`share(visual)`, `load(visual)` or `alpha(0)`."""

    function: Name
    experts: SetExpression
    span: Span


class WeightOf(Node):
    """The word `weight` as an operand of `expect`."""

    span: Span


Operand = Measure | WeightOf | NumberLiteral | Reference


class Comparison(Node):
    """`share(visual) > 0.6`."""

    left: Operand
    sign: Literal["<", "<=", "=", ">=", ">"]
    right: Operand
    span: Span


class Expect(Node):
    """`expect share(visual) > 0.6 for modality vision`, or `expect unshaped …`."""

    claim: Comparison | Unshaped
    selector: Selector | None
    span: Span


class Allow(Node):
    """`allow weak-preference in vision because "on purpose"`."""

    finding: Name
    rules: tuple[Name, ...]
    because: Name
    span: Span


Statement = Import | Model | Attribute | Group | Parameter | Default | Rule | Schedule | Expect | Allow


class Broken(Node):
    """A statement that could not be read, and the name it was about to declare, if that much was plain."""

    keyword: str
    name: str | None
    span: Span


class Comment(Node):
    """`# …`, with its place.

    One that is `deeper` stands on a line of its own, further right than the line of code that follows: it belongs
    to what it stands under.
    """

    text: str
    span: Span
    deeper: bool = False


class Document(Node, uncompared=("span", "broken", "comments")):
    """One file."""

    version: NumberLiteral | None
    statements: tuple[Statement, ...]
    span: Span
    broken: tuple[Broken, ...] = ()
    comments: tuple[Comment, ...] = ()
