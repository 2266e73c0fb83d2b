"""Spec → PriorTable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from priorlang.diagnostics.finding import PriorError, Severity
from priorlang.semantics.exact import rounded
from priorlang.semantics.spec import RuleSpec, Spec
from priorlang.table.cells import CellPrior, Cells, cells_of
from priorlang.table.prior_table import UNSHAPED, PriorTable, SourceRule, TableAttribute, TableHeader


def compile_spec(spec: Spec, cells: Cells | None = None) -> PriorTable:
    """Compile a prior into arrays.

    Args:
        spec: the resolved prior.
        cells: its evaluated cells, where the caller has them already.

    Raises:
        PriorError: a cell has two different bases or weights, none at all, or an α that is not above 0.
    """
    from priorlang.checks.cells import cell_findings
    from priorlang.table.marginals import build_marginals

    cells = cells_of(spec) if cells is None else cells
    findings = [finding for finding in cell_findings(cells) if finding.severity is Severity.ERROR]
    if findings:
        raise PriorError(findings)
    numbered = _number_rows(cells)
    alpha = np.array([[rounded(a) for a in prior.alpha] for prior in numbered.priors], dtype=np.float64)
    alpha = alpha.reshape(-1, spec.model.experts)
    pair, shapes = _pairs(numbered.priors, spec.model.experts)
    marginal, window = build_marginals(shapes[:, 0], shapes[:, 1])
    header = TableHeader(
        language=spec.version,
        layers=spec.model.layers,
        experts=spec.model.experts,
        top_k=spec.model.top_k,
        attributes=tuple(_table_attribute(spec, index) for index in range(len(spec.attributes))),
        schedule=tuple((rounded(place), rounded(factor)) for place, factor in _points(spec)),
        schedule_unit=spec.schedule.unit if spec.schedule else "fraction",
        populations=numbered.population_names,
        sources=numbered.sources,
        normal_form="",
    )
    table = PriorTable(
        header=header,
        layer=np.array(spec.model.routed, dtype=np.int32),
        row=numbered.row,
        population=numbered.population,
        alpha=alpha,
        weight=np.array([rounded(prior.weight) for prior in numbered.priors], dtype=np.float64),
        pair=pair,
        marginal=marginal,
        window=window,
    )
    return _with_normal_form(table)


class _Numbered:
    """Rows and populations, numbered by their first cell, so that the order of rules plays no part."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.row: NDArray[np.int32] = np.full(shape, UNSHAPED, dtype=np.int32)
        self.population: NDArray[np.int32] = np.full(shape, UNSHAPED, dtype=np.int32)
        self.priors: list[CellPrior] = []
        self.sources: tuple[tuple[SourceRule, ...], ...] = ()
        self.population_names: tuple[str, ...] = ()


def _number_rows(cells: Cells) -> _Numbered:
    spec = cells.spec
    numbered = _Numbered((len(spec.model.routed), spec.class_count))
    split_codes = _SplitCodes(spec)
    keys: dict[tuple[tuple[Fraction, ...], Fraction], int] = {}
    raw_row = np.full(numbered.row.shape, UNSHAPED, dtype=np.int64)
    group = np.zeros(numbered.row.shape, dtype=np.int64)
    priors: list[CellPrior] = []
    sources: dict[int, set[int]] = {}
    for (signature, layer_position), prior in cells.priors.items():
        if prior is None:
            continue
        key = (prior.alpha, prior.weight)
        number = keys.setdefault(key, len(priors))
        if number == len(priors):
            priors.append(prior)
        sources.setdefault(number, set()).update(cells.active[signature])
        layers = slice(None) if layer_position < 0 else slice(layer_position, layer_position + 1)
        mask = cells.signature[layers] == signature
        raw_row[layers][mask] = number
        group[layers] = np.where(mask, split_codes.of(prior.split)[None, :], group[layers])
    order = _first_seen(raw_row.ravel())
    renumber = np.full(len(priors) + 1, UNSHAPED, dtype=np.int32)
    renumber[order] = np.arange(len(order), dtype=np.int32)
    numbered.row = renumber[raw_row].astype(np.int32)
    numbered.priors = [priors[number] for number in order]
    numbered.sources = tuple(_source_rules(spec, sources[number]) for number in order)
    _number_populations(numbered, spec, group)
    return numbered


def _number_populations(numbered: _Numbered, spec: Spec, group: NDArray[np.int64]) -> None:
    """A population: the cells of one layer with the same prior and the same split members."""
    names: list[str] = []
    for position, layer in enumerate(spec.model.routed):
        row = numbered.row[position].astype(np.int64)
        key = row * (int(group.max(initial=0)) + 1) + group[position]
        key[row == UNSHAPED] = UNSHAPED
        for value in _first_seen(key):
            mask = key == value
            numbered.population[position, mask] = len(names)
            names.append(f"layer {layer} · {_class_names(spec, mask)}")
    numbered.population_names = tuple(names)


class _SplitCodes:
    """For a set of split attributes, a number for each combination of their members: [C]."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.digits = _class_digits(spec)
        self.offsets: dict[frozenset[int], NDArray[np.int64]] = {}
        self.next = 1

    def of(self, split: frozenset[int]) -> NDArray[np.int64]:
        if split not in self.offsets:
            code = np.zeros(self.spec.class_count, dtype=np.int64)
            for attribute in sorted(split):
                code = code * len(self.spec.attributes[attribute].leaves) + self.digits[attribute]
            # Equal members of equal attributes are one population; without a split there is one code, 0.
            self.offsets[split] = code + (self.next if split else 0)
            self.next += int(code.max()) + 1 if split else 0
        return self.offsets[split]


def _class_digits(spec: Spec) -> list[NDArray[np.int64]]:
    """For each attribute, the member code of every token class: [C] each."""
    sizes = [len(attribute.leaves) for attribute in spec.attributes]
    if not sizes:
        return []
    return [
        np.asarray(digit, dtype=np.int64) for digit in np.unravel_index(np.arange(spec.class_count), sizes)
    ]


def _class_names(spec: Spec, mask: NDArray[np.bool_]) -> str:
    """Some token classes in words: the members of each attribute that does not take all of its own."""
    if mask.all():
        return "all tokens"
    parts = []
    for attribute, digit in zip(spec.attributes, _class_digits(spec), strict=True):
        codes = sorted(set(digit[mask].tolist()))
        if len(codes) < len(attribute.leaves):
            words = [attribute.leaves[code] for code in codes]
            parts.append(" | ".join(words) if len(words) <= 4 else f"{len(words)} of {attribute.name}")
    return ", ".join(parts) or "some tokens"


def _first_seen(values: NDArray[np.int64]) -> list[int]:
    """The distinct values but -1, in order of first appearance."""
    found, first = np.unique(values, return_index=True)
    return [int(value) for value in found[np.argsort(first)] if value != UNSHAPED]


def _pairs(priors: Sequence[CellPrior], experts: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The distinct Beta shapes (α_k, A − α_k) and which of them each expert of each prior has."""
    numbering: dict[tuple[float, float], int] = {}
    pair = np.zeros((len(priors), experts), dtype=np.int32)
    for row, prior in enumerate(priors):
        total = sum(prior.alpha, Fraction(0))
        for expert, alpha in enumerate(prior.alpha):
            shape = (rounded(alpha), rounded(total - alpha))
            pair[row, expert] = numbering.setdefault(shape, len(numbering))
    return pair, np.array(list(numbering), dtype=np.float64).reshape(-1, 2)


def _source_rules(spec: Spec, positions: set[int]) -> tuple[SourceRule, ...]:
    rules: list[RuleSpec] = [spec.default, *(spec.rules[position] for position in positions)]
    named = [SourceRule(rule.name, _short(rule.span.file), rule.name_span.start.line) for rule in rules]
    return tuple(sorted(named, key=lambda source: (source.rule != "default", source.rule)))


def _short(file: str) -> str:
    """The file's own name: a table says the same wherever its source lay."""
    return file.replace("\\", "/").rsplit("/", 1)[-1]


def _table_attribute(spec: Spec, index: int) -> TableAttribute:
    attribute = spec.attributes[index]
    parents = tuple(
        (name, tuple(attribute.leaves[code] for code in codes)) for name, codes in attribute.parents.items()
    )
    return TableAttribute(attribute.name, attribute.leaves, parents)


def _points(spec: Spec) -> tuple[tuple[Fraction, Fraction], ...]:
    return spec.schedule.points if spec.schedule else ()


def _with_normal_form(table: PriorTable) -> PriorTable:
    from dataclasses import replace

    return replace(table, header=replace(table.header, normal_form=meaning_hash(table)))


def meaning_hash(table: PriorTable) -> str:
    """SHA-256 of what a table asks for: the same for tables that differ only in the order of attributes,
    members, rows or populations, or in where their rules stand.
    """
    header = table.header
    attributes = sorted(range(len(header.attributes)), key=lambda index: header.attributes[index].name)
    sizes = [len(attribute.members) for attribute in header.attributes]
    classes = np.arange(table.class_count).reshape(sizes or [1])
    for axis, attribute in enumerate(header.attributes):
        classes = np.take(classes, np.argsort(np.array(attribute.members)), axis=axis)
    order = classes.transpose(attributes).ravel() if sizes else classes.ravel()
    row, population = table.row[:, order], table.population[:, order]
    rows = _first_seen(row.ravel().astype(np.int64))
    digest = hashlib.sha256()
    words = {
        "language": header.language,
        "model": [header.layers, header.experts, header.top_k],
        "attributes": [
            [header.attributes[index].name, sorted(header.attributes[index].members)] for index in attributes
        ],
        "schedule": [header.schedule_unit, header.schedule],
    }
    digest.update(json.dumps(words, sort_keys=True).encode())
    digest.update(table.layer.tobytes())
    digest.update(_renumbered(row, rows).tobytes())
    populations = _first_seen(population.ravel().astype(np.int64))
    digest.update(_renumbered(population, populations).tobytes())
    digest.update(np.ascontiguousarray(table.alpha[rows]).tobytes())
    digest.update(np.ascontiguousarray(table.weight[rows]).tobytes())
    return digest.hexdigest()


def _renumbered(values: NDArray[np.int32], order: list[int]) -> NDArray[np.int32]:
    renumber = np.full(int(values.max(initial=0)) + 2, UNSHAPED, dtype=np.int32)
    renumber[order] = np.arange(len(order), dtype=np.int32)
    return np.asarray(renumber[values], dtype=np.int32)
