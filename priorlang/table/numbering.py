"""Rows and populations: numbered by their first cell, so that the order of rules plays no part."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from priorlang.semantics.spec import RuleSpec, Spec
from priorlang.table.cells import CellPrior, Cells
from priorlang.table.prior_table import UNSHAPED, SourceRule


@dataclass(frozen=True)
class Numbering:
    """What the arrays of a table are made of.

    Attributes:
        row: [L, C] int32, the prior of each cell; -1 unshaped.
        population: [L, C] int32, the population of each cell; -1 unshaped.
        priors: the distinct priors.
        sources: for each prior, the rules that made it.
        population_names: a readable name of each population.
    """

    row: NDArray[np.int32]
    population: NDArray[np.int32]
    priors: tuple[CellPrior, ...]
    sources: tuple[tuple[SourceRule, ...], ...]
    population_names: tuple[str, ...]


def numbering_of(cells: Cells) -> Numbering:
    """Number the distinct priors and populations of a prior."""
    spec = cells.spec
    raw_row, priors, sources = _rows(cells)
    order = first_seen(raw_row.ravel())
    row = renumbered(raw_row, order)
    population, names = _populations(spec, row, _split_codes(cells))
    return Numbering(
        row,
        population,
        tuple(priors[number] for number in order),
        tuple(_source_rules(spec, sources[number]) for number in order),
        names,
    )


def first_seen(values: NDArray[np.int64]) -> list[int]:
    """The distinct values but -1, in order of first appearance."""
    found, first = np.unique(values, return_index=True)
    return [int(value) for value in found[np.argsort(first)] if value != UNSHAPED]


def renumbered(values: NDArray[np.int64], order: list[int]) -> NDArray[np.int32]:
    """`values` with order[i] replaced by i; -1 stays."""
    renumber = np.full(int(values.max(initial=0)) + 2, UNSHAPED, dtype=np.int32)
    renumber[order] = np.arange(len(order), dtype=np.int32)
    return np.asarray(renumber[values], dtype=np.int32)


def _rows(cells: Cells) -> tuple[NDArray[np.int64], list[CellPrior], list[set[int]]]:
    """[L, C] a number for each distinct (α, λ), -1 unshaped; and of each, a prior and the rules behind it."""
    numbers: dict[tuple[tuple[Fraction, ...], Fraction], int] = {}
    priors: list[CellPrior] = []
    sources: list[set[int]] = []
    everywhere = np.full(len(cells.active), UNSHAPED, dtype=np.int64)
    in_layer: dict[int, list[tuple[int, int]]] = {}
    for (signature, layer_position), prior in cells.priors.items():
        if prior is None:
            continue
        number = numbers.setdefault((prior.alpha, prior.weight), len(priors))
        if number == len(priors):
            priors.append(prior)
            sources.append(set())
        sources[number].update(cells.active[signature])
        if layer_position < 0:
            everywhere[signature] = number
        else:
            in_layer.setdefault(layer_position, []).append((signature, number))
    row = everywhere[cells.signature]
    for layer_position, found in in_layer.items():
        here = everywhere.copy()
        for signature, number in found:
            here[signature] = number
        row[layer_position] = here[cells.signature[layer_position]]
    return row, priors, sources


def _split_codes(cells: Cells) -> NDArray[np.int64]:
    """[L, C]: equal where two cells with the same prior may share a population."""
    splits: dict[frozenset[int], int] = {frozenset(): 0}
    split_of = np.zeros(len(cells.active), dtype=np.int64)
    for (signature, _), prior in cells.priors.items():
        if prior is not None:
            split_of[signature] = splits.setdefault(prior.split, len(splits))
    split = split_of[cells.signature]
    codes = np.zeros(split.shape, dtype=np.int64)
    digits = _class_digits(cells.spec)
    following = 1
    for attributes, number in splits.items():
        code = np.zeros(cells.spec.class_count, dtype=np.int64)
        for attribute in sorted(attributes):
            code = code * len(cells.spec.attributes[attribute].leaves) + digits[attribute]
        if attributes:
            codes = np.where(split == number, following + code[None, :], codes)
            following += int(code.max()) + 1
    return codes


def _populations(
    spec: Spec, row: NDArray[np.int32], split: NDArray[np.int64]
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """A population: the cells of one layer with the same prior and the same split members."""
    population = np.full(row.shape, UNSHAPED, dtype=np.int32)
    names: list[str] = []
    classes_in_words = _ClassNames(spec)
    for position, layer in enumerate(spec.model.routed):
        key = row[position].astype(np.int64) * (int(split.max(initial=0)) + 1) + split[position]
        key[row[position] == UNSHAPED] = UNSHAPED
        order = first_seen(key)
        place = {value: index for index, value in enumerate(order)}
        found, inverse = np.unique(key, return_inverse=True)
        here = np.array([place.get(value, UNSHAPED) for value in found.tolist()])[inverse.ravel()]
        population[position] = np.where(here == UNSHAPED, UNSHAPED, here + len(names))
        names.extend(f"layer {layer} · {words}" for words in classes_in_words.of(here, len(order)))
    return population, tuple(names)


class _ClassNames:
    """Groups of token classes in words; layers that are cut up alike are named once."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.digits = _class_digits(spec)
        self.known: dict[bytes, list[str]] = {}

    def of(self, group: NDArray[np.int64], groups: int) -> list[str]:
        """The names of groups 0, 1, … of the token classes, where `group` [C] says the group of each."""
        key = group.tobytes()
        if key not in self.known:
            by_group = np.argsort(group, kind="stable")
            ends = np.searchsorted(group[by_group], np.arange(groups + 1))
            self.known[key] = [self._name(by_group[begin:end]) for begin, end in pairwise(ends)]
        return self.known[key]

    def _name(self, classes: NDArray[np.int64]) -> str:
        """The members of each attribute that does not take all of its own."""
        if len(classes) == self.spec.class_count:
            return "all tokens"
        parts = []
        for attribute, digit in zip(self.spec.attributes, self.digits, strict=True):
            codes = np.unique(digit[classes]).tolist()
            if len(codes) < len(attribute.leaves):
                words = [attribute.leaves[code] for code in codes[:4]]
                parts.append(" | ".join(words) if len(codes) <= 4 else f"{len(codes)} of {attribute.name}")
        return ", ".join(parts) or "some tokens"


def _class_digits(spec: Spec) -> list[NDArray[np.int64]]:
    """For each attribute, the member code of every token class: [C] each."""
    sizes = [len(attribute.leaves) for attribute in spec.attributes]
    if not sizes:
        return []
    return [
        np.asarray(digit, dtype=np.int64) for digit in np.unravel_index(np.arange(spec.class_count), sizes)
    ]


def _source_rules(spec: Spec, positions: set[int]) -> tuple[SourceRule, ...]:
    rules: list[RuleSpec] = [spec.default, *(spec.rules[position] for position in positions)]
    named = [SourceRule(rule.name, _short(rule.span.file), rule.name_span.start.line) for rule in rules]
    return tuple(sorted(named, key=lambda source: (source.rule != "default", source.rule)))


def _short(file: str) -> str:
    """The file's own name: a table says the same wherever its source lay."""
    return file.replace("\\", "/").rsplit("/", 1)[-1]
