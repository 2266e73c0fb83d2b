"""Where the rules of a prior match, and which of them are active together.

Members that no rule tells apart are looked at once: an attribute of ten thousand members of which rules
name ten counts as eleven.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.semantics.spec import Spec, Where

Mask = NDArray[np.bool_]

MAXIMUM_MARKS = 2_000_000_000
"""Rules × token classes that rules tell apart × kinds of layers: about a minute of work."""


@dataclass(frozen=True, eq=False)
class Matching:
    """Which rules match where.

    Token classes are grouped: a group is one kind of member of each attribute, in mixed radix, where the
    members of a kind are told apart by no rule.

    Attributes:
        layers: [rules, L], the routed layers that each rule matches.
        marks: for each attribute, [rules, kinds], the kinds of members that each rule takes.
        kinds: for each attribute, [members], the kind of each leaf member.
    """

    layers: Mask
    marks: tuple[Mask, ...]
    kinds: tuple[NDArray[np.int64], ...]

    @property
    def group_count(self) -> int:
        """G, the number of groups."""
        return prod(marks.shape[1] for marks in self.marks)

    def groups_of(self, groups: NDArray[np.int64]) -> Mask:
        """[rules, n]: which rules match each of n groups."""
        found = np.ones((len(self.layers), len(groups)), dtype=np.bool_)
        for marks, kind in zip(self.marks, self._digits(groups), strict=True):
            found &= marks[:, kind]
        return found

    @cached_property
    def groups(self) -> Mask:
        """[rules, G]: which rules match each group."""
        return self.groups_of(np.arange(self.group_count))

    @cached_property
    def group(self) -> NDArray[np.int64]:
        """[C]: the group of each token class."""
        found = np.zeros(1, dtype=np.int64)
        for marks, kinds in zip(self.marks, self.kinds, strict=True):
            found = (found[:, None] * marks.shape[1] + kinds[None, :]).ravel()
        return found

    def first_class(self, group: int) -> int:
        """The first token class of a group."""
        found = 0
        digits = self._digits(np.array([group]))
        for kinds, kind in zip(self.kinds, digits, strict=True):
            found = found * len(kinds) + int(np.argmax(kinds == kind[0]))
        return found

    def _digits(self, groups: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The kind of member of each attribute that groups are made of."""
        digits: list[NDArray[np.int64]] = []
        for marks in reversed(self.marks):
            groups, kind = np.divmod(groups, marks.shape[1])
            digits.append(kind)
        return digits[::-1]


def matching_of(spec: Spec) -> Matching:
    """Where each rule of a prior matches.

    Raises:
        PriorError: `too-large`, where the rules tell apart more than anyone could mean.
    """
    routed = np.asarray(spec.model.routed)
    rules = len(spec.rules)
    layers = np.empty((rules, len(routed)), dtype=np.bool_)
    for position, rule in enumerate(spec.rules):
        layers[position] = layer_mask(rule.where, routed)
    layer_kinds = len(distinct_columns(layers)[0])
    marks: list[Mask] = []
    kinds: list[NDArray[np.int64]] = []
    for attribute in range(len(spec.attributes)):
        distinct, inverse = _distinct_members(spec, attribute)
        marks.append(distinct)
        kinds.append(inverse)
        _bound(spec, rules * layer_kinds * prod(columns.shape[1] for columns in marks))
    return Matching(layers, tuple(marks), tuple(kinds))


def _distinct_members(spec: Spec, attribute: int) -> tuple[Mask, NDArray[np.int64]]:
    """For one attribute: [rules, groups] which rules take each group of members, and [members] the groups."""
    members = len(spec.attributes[attribute].leaves)
    _bound(spec, len(spec.rules) * members)
    marks = np.ones((len(spec.rules), members), dtype=np.bool_)
    for position, rule in enumerate(spec.rules):
        for condition in rule.where.conditions:
            if condition.attribute == attribute:
                marks[position] = False
                marks[position, list(condition.codes)] = True
    first, inverse = distinct_columns(marks)
    return marks[:, first], inverse


def distinct_columns(marks: Mask) -> tuple[list[int], NDArray[np.int64]]:
    """The position of each distinct column, in order of appearance, and which of them every column equals."""
    if not len(marks):
        return [0], np.zeros(marks.shape[1], dtype=np.int64)
    packed = np.ascontiguousarray(np.packbits(marks, axis=0).T)
    numbering: dict[bytes, int] = {}
    first: list[int] = []
    which = np.empty(len(packed), dtype=np.int64)
    columns: list[bytes] = packed.view(np.dtype((np.void, packed.shape[1]))).ravel().tolist()  # type: ignore[assignment]
    for position, column in enumerate(columns):
        which[position] = number = numbering.setdefault(column, len(first))
        if number == len(first):
            first.append(position)
    return first, which


def layer_mask(where: Where, layers: NDArray[np.int64]) -> Mask:
    """[L]: the routed layers that a selector lets through."""
    if where.layers is None:
        return np.ones(len(layers), dtype=np.bool_)
    through = np.zeros(int(layers.max(initial=0)) + 1, dtype=np.bool_)
    through[[layer for layer in where.layers if layer < len(through)]] = True
    return through[layers]


def class_mask(where: Where, spec: Spec) -> Mask:
    """[C]: the token classes that a selector lets through."""
    mask = np.ones([len(attribute.leaves) for attribute in spec.attributes] or [1], dtype=np.bool_)
    for condition in where.conditions:
        through = np.zeros(len(spec.attributes[condition.attribute].leaves), dtype=np.bool_)
        through[list(condition.codes)] = True
        shape = [1] * len(spec.attributes)
        shape[condition.attribute] = -1
        mask &= through.reshape(shape)
    return mask.ravel()


def active_rules(matching: Mask, silencers: list[tuple[int, ...]]) -> Mask:
    """[rules, …]: the rules that match and that no matching rule overrides."""
    active = matching.copy()
    for rule, overriding in enumerate(silencers):
        if overriding:
            active[rule] &= ~matching[list(overriding)].any(axis=0)
    return active


def silencers_of(spec: Spec) -> list[tuple[int, ...]]:
    """For each rule, the positions of the rules that override it."""
    everywhere = [position for position, rule in enumerate(spec.rules) if rule.overrides_all]
    named: dict[str, list[int]] = {}
    for position, rule in enumerate(spec.rules):
        for name in rule.overrides:
            named.setdefault(name, []).append(position)
    return [
        tuple(sorted({p for p in everywhere if p != position} | set(named.get(rule.name, ()))))
        for position, rule in enumerate(spec.rules)
    ]


def too_large(spec: Spec, message: str) -> PriorError:
    """The refusal of a prior that would take too long or too much memory."""
    return PriorError([Finding("too-large", Severity.ERROR, message, spec.model.span)])


def _bound(spec: Spec, marks: int) -> None:
    if marks > MAXIMUM_MARKS:
        message = f"{len(spec.rules):,} rules tell too many layers and token classes apart"
        raise too_large(spec, message)
