"""Where the rules of a prior match, and which of them are active together.

Members that no rule tells apart are looked at once: an attribute of ten thousand members of which rules
name ten counts as eleven.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.semantics.spec import Spec, Where

Mask = NDArray[np.bool_]

MAXIMUM_MARKS = 1_000_000_000
"""Rules × token classes that rules tell apart × kinds of layers: about a minute of work."""


@dataclass(frozen=True)
class Matching:
    """Which rules match where.

    Attributes:
        layers: [rules, L], the routed layers that each rule matches.
        groups: [rules, G], the groups of token classes that each rule matches.
        group: [C], the group of each token class.
    """

    layers: Mask
    groups: Mask
    group: NDArray[np.int64]


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
    kinds = len(distinct_columns(layers)[0])
    marks: list[Mask] = []
    groups_of_member: list[NDArray[np.int64]] = []
    for attribute in range(len(spec.attributes)):
        distinct, inverse = _distinct_members(spec, attribute)
        marks.append(distinct)
        groups_of_member.append(inverse)
        _bound(spec, rules * kinds * prod(len(columns.T) for columns in marks))
    groups = np.ones((rules, 1), dtype=np.bool_)
    group = np.zeros(1, dtype=np.int64)
    for columns, inverse in zip(marks, groups_of_member, strict=True):
        both = groups[:, :, None] & columns[:, None, :]
        groups = both.reshape(rules, both.shape[1] * both.shape[2])
        group = (group[:, None] * columns.shape[1] + inverse[None, :]).ravel()
    return Matching(layers, groups, group)


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
    return np.isin(layers, list(where.layers))


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
