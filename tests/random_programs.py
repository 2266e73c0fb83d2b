"""Random priors as plain data, their text, and what every cell of them asks for, worked out the slow way.

The evaluator follows docs/language.md cell by cell, with loops and fractions. It shares no code with the
compiler, whose tables are compared with it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from fractions import Fraction
from random import Random

from hypothesis import strategies as st

Cell = tuple[int, tuple[str, ...]]
"""A decoder layer and a leaf member of each attribute."""


@dataclass(frozen=True)
class Ramp:
    start: str
    stop: str
    first: int
    last: int


Value = str | Ramp | tuple[str, ...]


@dataclass(frozen=True)
class Attribute:
    name: str
    members: tuple[tuple[str, tuple[str, ...]], ...]
    """(member, its children): no children, a leaf."""

    @property
    def leaves(self) -> tuple[str, ...]:
        return tuple(leaf for name, children in self.members for leaf in children or (name,))

    def below(self, member: str) -> set[str]:
        return set(dict(self.members).get(member) or (member,))


@dataclass(frozen=True)
class Select:
    negated: bool
    members: tuple[str, ...]


@dataclass(frozen=True)
class Push:
    verb: str
    experts: tuple[int, ...]
    by: str | Ramp


@dataclass(frozen=True)
class Rule:
    name: str
    overrides: tuple[str, ...] | str = ()
    terms: tuple[tuple[str, Select], ...] = ()
    layers: tuple[int, ...] | None = None
    base: Value | None = None
    shares: tuple[tuple[str, tuple[int, ...]], ...] = ()
    pushes: tuple[Push, ...] = ()
    weight: str | Ramp | None = None
    unshaped: bool = False
    split: tuple[str, ...] = ()


@dataclass(frozen=True)
class Program:
    layers: int
    experts: int
    top_k: int
    routed: tuple[int, ...] | None
    attributes: tuple[Attribute, ...]
    default: Rule
    rules: tuple[Rule, ...]
    parameters: dict[str, str] = field(default_factory=dict, hash=False)
    """Numbers that are written as `$name`, by the number."""


# --- strategies --------------------------------------------------------------------------------------

seeds = st.integers(0, 2**32).map(Random)
"""Sources of shuffling; hypothesis' own randomness shuffles too little."""
NUMBERS = ("0.25", "0.5", "0.75", "1", "1e-1", "2.5", "3")
_numbers = st.sampled_from(NUMBERS)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    layers = draw(st.integers(1, 5))
    experts = draw(st.integers(2, 4))
    top_k = draw(st.integers(1, experts))
    routed = draw(st.none() | _subset(range(layers)))
    attributes = tuple(
        draw(_attribute(name)) for name in ("m", "task", "data set")[: draw(st.integers(0, 3))]
    )
    names = [f"r{number}" for number in range(draw(st.integers(0, 5)))]
    default = draw(_default(layers, experts, attributes))
    rules = tuple(draw(_rule(name, names, layers, experts, attributes)) for name in names)
    written = draw(st.lists(_numbers, unique=True, max_size=2))
    parameters = {number: f"p{index}" for index, number in enumerate(written)}
    return Program(layers, experts, top_k, routed, attributes, default, rules, parameters)


@st.composite
def _attribute(draw: st.DrawFn, name: str) -> Attribute:
    members: list[tuple[str, tuple[str, ...]]] = [("a", ()), ("b", ())]
    if draw(st.booleans()):
        members.append(("in", ("c", "d d")))
    if draw(st.booleans()):
        members.append(("unknown", ()))
    return Attribute(name, tuple(members[: draw(st.integers(1, len(members)))]))


@st.composite
def _default(draw: st.DrawFn, layers: int, experts: int, attributes: tuple[Attribute, ...]) -> Rule:
    split = draw(_names_of(attributes))
    if draw(st.integers(0, 4)) == 0:
        return Rule("default", unshaped=True, split=split)
    base, weight = draw(_value(layers, experts)), draw(_scalar(layers))
    return Rule("default", base=base, weight=weight, split=split)


@st.composite
def _rule(
    draw: st.DrawFn, name: str, names: list[str], layers: int, experts: int, attributes: tuple[Attribute, ...]
) -> Rule:
    others = [other for other in names if other > name]
    overrides: tuple[str, ...] | str = ()
    kind = draw(st.integers(0, 9))
    if kind < 3 and others:
        overrides = draw(_subset(others))
    elif kind == 3:
        overrides = "all"
    terms = tuple(
        (attribute.name, draw(_select(attribute))) for attribute in attributes if draw(st.booleans())
    )
    where = draw(st.none() | _subset(range(layers)))
    split = draw(_names_of(attributes))
    if draw(st.integers(0, 7)) == 0:
        return Rule(name, overrides, terms, where, unshaped=True, split=split)
    base = draw(st.none() | st.none() | _value(layers, experts))
    shares: tuple[tuple[str, tuple[int, ...]], ...] = ()
    if isinstance(base, str) and draw(st.booleans()):
        cut, first = draw(st.integers(1, experts - 1)), draw(st.integers(1, experts - 1))
        targets = [tuple(range(first))] if first >= cut else [tuple(range(first)), tuple(range(first, cut))]
        shares = tuple((draw(st.sampled_from(("0.25", "0.5"))), target) for target in targets)
    pushes = tuple(
        Push(verb, draw(_subset(range(experts))), draw(_scalar(layers)))
        for verb in draw(st.lists(st.sampled_from(("prefer", "prefer", "avoid")), max_size=2))
    )
    weight = draw(st.none() | st.none() | _scalar(layers))
    if base is None and weight is None and not pushes:
        pushes = (Push("prefer", (0,), "0.5"),)
    return Rule(name, overrides, terms, where, base, shares, pushes, weight, split=split)


def _scalar(layers: int) -> st.SearchStrategy[str | Ramp]:
    if layers < 2:
        return _numbers
    ends = st.tuples(st.integers(0, layers - 2), st.integers(1, layers - 1)).filter(lambda e: e[0] < e[1])
    ramps = st.builds(lambda a, b, e: Ramp(a, b, *e), _numbers, _numbers, ends)
    return st.one_of(_numbers, _numbers, ramps)


def _value(layers: int, experts: int) -> st.SearchStrategy[Value]:
    vectors = st.tuples(*[_numbers] * experts)
    return st.one_of(_scalar(layers), vectors)


@st.composite
def _select(draw: st.DrawFn, attribute: Attribute) -> Select:
    members = draw(_subset([name for name, _ in attribute.members]))
    everything = set().union(*(attribute.below(name) for name in members)) == set(attribute.leaves)
    return Select(not everything and draw(st.booleans()), members)


def _subset(items: object) -> st.SearchStrategy[tuple]:
    listed = list(items)  # type: ignore[call-overload]
    return st.lists(st.sampled_from(listed), min_size=1, unique=True).map(lambda found: tuple(sorted(found)))


def _names_of(attributes: tuple[Attribute, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    names = [attribute.name for attribute in attributes]
    return st.just(()) if not names else st.one_of(st.just(()), st.just(()), _subset(names))


# --- text --------------------------------------------------------------------------------------------


def text_of(program: Program, random: Random | None = None) -> str:
    """The program in the DSL; with `random`, in any order, layout and naming of parameters."""
    sign = {number: f"${name}" for number, name in program.parameters.items()}

    def number(text: str) -> str:
        return sign.get(text, text)

    def value(given: Value) -> str:
        if isinstance(given, Ramp):
            ends = f"{number(given.start)} to {number(given.stop)}"
            return f"ramp {ends} over layers {given.first}..{given.last}"
        return number(given) if isinstance(given, str) else f"({', '.join(map(number, given))})"

    def effects(rule: Rule) -> str:
        words = []
        if rule.base is not None:
            shares = (f"share {number(part)} to {_indices(experts)}" for part, experts in rule.shares)
            words.append(" ".join([f"base {value(rule.base)}", *shares]))
        words += [f"{push.verb} {_indices(push.experts)} by {value(push.by)}" for push in rule.pushes]
        words += [f"weight {value(rule.weight)}"] if rule.weight is not None else []
        words += ["unshaped"] if rule.unshaped else []
        words += [f"split by {', '.join(map(_quoted, rule.split))}"] if rule.split else []
        return " ".join(_shuffled(words, random))

    def rule_text(rule: Rule) -> str:
        words = [f"rule {rule.name}"]
        if rule.overrides:
            names = (
                rule.overrides if rule.overrides == "all" else ", ".join(_shuffled(rule.overrides, random))
            )
            words.append(f"overrides {names}")
        terms = []
        for name, select in _shuffled(rule.terms, random):
            chosen = " | ".join(_quoted(member) for member in _shuffled(select.members, random))
            terms.append(f"{_quoted(name)} {'not ' if select.negated else ''}{chosen}")
        where = f"for {' and '.join(terms)} " if terms else ""
        where += f"in layers {_indices(rule.layers)} " if rule.layers is not None else ""
        return f"{' '.join(words)}: {where}{effects(rule)}"

    routed = f" routed = {_indices(program.routed)}" if program.routed is not None else ""
    size = f"layers = {program.layers} experts = {program.experts} top_k = {program.top_k}"
    statements = [f"model {{ {size}{routed} }}", f"default {effects(program.default)}"]
    statements += [f"param {name} = {number}" for number, name in program.parameters.items()]
    statements += [f"attribute {_quoted(a.name)} {{ {_members(a, random)} }}" for a in program.attributes]
    statements += [rule_text(rule) for rule in program.rules]
    joint = "\n" if random is None else "  # a comment { rule x:\n\n \t"
    return joint.join(["priorlang 1", *_shuffled(statements, random)]) + "\n"


def renamed(program: Program) -> Program:
    """The same program with other names for its parameters."""
    return replace(program, parameters={n: f"other-{name}" for n, name in program.parameters.items()})


def _members(attribute: Attribute, random: Random | None) -> str:
    return ", ".join(
        _quoted(name) + (f" {{ {', '.join(map(_quoted, _shuffled(children, random)))} }}" if children else "")
        for name, children in _shuffled(attribute.members, random)
    )


def _shuffled(items: object, random: Random | None) -> list:
    listed = list(items)  # type: ignore[call-overload]
    if random is not None:
        random.shuffle(listed)
    return listed


def _quoted(name: str) -> str:
    return f'"{name}"' if name == "in" or " " in name else name


def _indices(items: tuple[int, ...]) -> str:
    return " | ".join(map(str, items))


# --- what every cell asks for ------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What a cell asks for."""

    alpha: tuple[Fraction, ...]
    weight: Fraction
    split: frozenset[str]


def cells_of(program: Program) -> list[Cell]:
    routed = program.routed if program.routed is not None else tuple(range(program.layers))
    classes = itertools.product(*(attribute.leaves for attribute in program.attributes))
    return [(layer, members) for layer, members in itertools.product(sorted(routed), list(classes))]


def asked(program: Program, cell: Cell) -> Asked | str | None:
    """What a cell asks for; None where it is unshaped; else `conflict` or `missing-default`."""
    layer, _ = cell
    matching = [rule for rule in program.rules if matches(program, rule, cell)]
    active = [
        rule
        for rule in matching
        if not any(
            other is not rule and (other.overrides == "all" or rule.name in other.overrides)
            for other in matching
        )
    ]
    if any(rule.unshaped for rule in active):
        return None
    written: dict[str, object] = {}
    for effect in ("base", "weight"):
        values = {
            _base(program, rule, layer) if effect == "base" else _at(rule.weight, layer)
            for rule in active
            if getattr(rule, effect) is not None
        }
        if len(values) > 1:
            return "conflict"
        if values:
            written[effect] = values.pop()
        elif not program.default.unshaped:
            stated = program.default
            written[effect] = _base(program, stated, layer) if effect == "base" else _at(stated.weight, layer)
    if len(written) < 2:
        shaping = any(rule.base is not None or rule.pushes or rule.weight is not None for rule in active)
        return "missing-default" if shaping else None
    alpha = list(written["base"])  # type: ignore[call-overload]
    for rule in active:
        for push in rule.pushes:
            for expert in push.experts:
                alpha[expert] += _at(push.by, layer) * (1 if push.verb == "prefer" else -1)
    split = frozenset(program.default.split).union(*(rule.split for rule in active))
    return Asked(tuple(alpha), written["weight"], split)  # type: ignore[arg-type]


def matches(program: Program, rule: Rule, cell: Cell) -> bool:
    layer, members = cell
    if rule.layers is not None and layer not in rule.layers:
        return False
    for attribute, member in zip(program.attributes, members, strict=True):
        for name, select in rule.terms:
            if name == attribute.name:
                through = set().union(*(attribute.below(chosen) for chosen in select.members))
                if (member in through) == select.negated:
                    return False
    return True


def override_each_other(program: Program) -> bool:
    """Whether rules that match one cell override each other, in pairs or in a longer circle."""

    def silences(first: Rule, second: Rule) -> bool:
        return first is not second and (first.overrides == "all" or second.name in first.overrides)

    for cell in cells_of(program):
        left = [rule for rule in program.rules if matches(program, rule, cell)]
        while free := [rule for rule in left if not any(silences(other, rule) for other in left)]:
            left = [rule for rule in left if rule not in free]
        if left:
            return True
    return False


def _at(value: str | Ramp | None, layer: int) -> Fraction:
    if isinstance(value, Ramp):
        start, stop = Fraction(value.start), Fraction(value.stop)
        if layer <= value.first:
            return start
        if layer >= value.last:
            return stop
        return start + (stop - start) * (layer - value.first) / (value.last - value.first)
    assert value is not None
    return Fraction(value)


def _base(program: Program, rule: Rule, layer: int) -> tuple[Fraction, ...]:
    experts = program.experts
    if isinstance(rule.base, tuple):
        return tuple(map(Fraction, rule.base))
    value = _at(rule.base, layer)
    if not rule.shares:
        return (value,) * experts
    total = value * experts
    given = {
        expert: total * Fraction(part) / len(target) for part, target in rule.shares for expert in target
    }
    rest = (total - sum(given.values())) / (experts - len(given))
    return tuple(given.get(expert, rest) for expert in range(experts))
