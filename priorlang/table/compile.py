"""Spec → PriorTable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from priorlang.semantics.exact import rounded
from priorlang.semantics.spec import Spec
from priorlang.table.cells import CellPrior, Cells, cells_of
from priorlang.table.numbering import first_seen, numbering_of, renumbered
from priorlang.table.prior_table import PriorTable, TableAttribute, TableHeader


def compile_spec(spec: Spec, cells: Cells | None = None) -> PriorTable:
    """Compile a prior into arrays.

    Args:
        spec: the resolved prior.
        cells: its evaluated cells, where the caller has them already.

    Raises:
        PriorError: a cell has two different bases or weights, none at all, or an α that is not above 0.
    """
    from priorlang.checks import check_cells, raise_errors
    from priorlang.table.marginals import build_marginals

    raise_errors(check_cells(spec))
    cells = cells_of(spec) if cells is None else cells
    numbered = numbering_of(cells)
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
        by_name = sorted(range(len(attribute.members)), key=attribute.members.__getitem__)
        classes = np.take(classes, by_name, axis=axis)
    order = classes.transpose(attributes).ravel() if sizes else classes.ravel()
    row, population = table.row[:, order], table.population[:, order]
    rows = first_seen(row.ravel().astype(np.int64))
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
    digest.update(renumbered(row.astype(np.int64), rows).tobytes())
    populations = first_seen(population.ravel().astype(np.int64))
    digest.update(renumbered(population.astype(np.int64), populations).tobytes())
    digest.update(np.ascontiguousarray(table.alpha[rows]).tobytes())
    digest.update(np.ascontiguousarray(table.weight[rows]).tobytes())
    return digest.hexdigest()
