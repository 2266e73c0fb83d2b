"""The routing of a run, counted anew by the populations of any prior over the same model and token classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from priorlang.diagnostics.suggest import listing
from priorlang.routing.run import RunRouting, routing_error
from priorlang.semantics.describe import index_set
from priorlang.table.prior_table import UNSHAPED, PriorTable


@dataclass(frozen=True, eq=False)
class PopulationRouting:
    """The tokens of one layer that share a prior. K experts.

    Attributes:
        layer: decoder-layer index.
        name: which tokens, without the layer: `vision`.
        row: their prior in the table.
        token_class: one of their token classes in the table.
        tokens: how many there are, above 0.
        top: [K] int64, tokens with their largest p here.
        log_probability: [K] float64, Σ ln p.
        bins: [K, 1024] histogram of ℓ; None where the run pooled these tokens with others.
    """

    layer: int
    name: str
    row: int
    token_class: int
    tokens: int
    top: NDArray[np.int64]
    log_probability: NDArray[np.float64]
    bins: NDArray[np.int64] | None


def populations_of(run: RunRouting, table: PriorTable) -> tuple[PopulationRouting, ...]:
    """The routing of each population of `table` that has tokens in the run, by layer.

    Raises:
        PriorError: the run is of another model, has other token classes, or kept no sums of them where they
            are needed.
    """
    _check_model(run, table)
    class_of = _matching_classes(run, table)
    population = table.population[:, class_of]
    groups = run.cell_groups()
    if run.statistics.classes is None:
        _check_unbroken(run, population, groups)
    found = []
    for position in range(len(table.layer)):
        for number in np.unique(population[position]):
            if number != UNSHAPED:
                mask = population[position] == number
                first = int(class_of[np.argmax(mask)])
                name = table.header.populations[number].partition(" · ")[2]
                part = _population(run, position, mask, groups[position])
                if part.tokens:
                    row = int(table.row[position, first])
                    found.append(
                        PopulationRouting(
                            int(table.layer[position]), name, row, first, part.tokens, part.top,
                            part.log_probability, part.bins,
                        )
                    )  # fmt: skip
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Sums:
    tokens: int
    top: NDArray[np.int64]
    log_probability: NDArray[np.float64]
    bins: NDArray[np.int64] | None


def _population(run: RunRouting, position: int, mask: NDArray[np.bool_], group: NDArray[np.int64]) -> _Sums:
    """Sums over the run's classes in `mask` [C] of one layer; `group` [C] says where each is pooled."""
    statistics, classes = run.statistics, run.statistics.classes
    inside = np.unique(group[mask])
    if classes is None:
        sums = statistics
        return _Sums(
            int(sums.tokens[inside].sum()), sums.top[inside].sum(0), sums.log_probability[inside].sum(0),
            statistics.bins[inside].sum(0, dtype=np.int64),
        )  # fmt: skip
    tokens = classes.tokens[position]
    whole = not np.isin(group[~mask & (tokens > 0)], inside).any()
    return _Sums(
        int(tokens[mask].sum()),
        classes.top[position, mask].sum(0),
        classes.log_probability[position, mask].sum(0),
        statistics.bins[inside].sum(0, dtype=np.int64) if whole else None,
    )


def _check_model(run: RunRouting, table: PriorTable) -> None:
    experts = run.table.header.experts
    if experts != table.header.experts:
        raise routing_error(f"{run.place} has {experts} experts, the prior has {table.header.experts}")
    if not np.array_equal(run.table.layer, table.layer):
        ours, theirs = index_set(table.layer.tolist()), index_set(run.table.layer.tolist())
        raise routing_error(f"layers {theirs} of {run.place} route, and layers {ours} of the prior")


def _matching_classes(run: RunRouting, table: PriorTable) -> NDArray[np.int64]:
    """[C of the run], the token class in `table` of each of the run's."""
    header = run.table.header
    sizes = [len(attribute.members) for attribute in header.attributes]
    digits = np.unravel_index(np.arange(run.table.class_count), sizes) if sizes else ()
    members = {
        attribute.name: (attribute.members, digit)
        for attribute, digit in zip(header.attributes, digits, strict=True)
    }
    classes = np.zeros(run.table.class_count, np.int64)
    for attribute in table.header.attributes:
        names, digit = members.get(attribute.name, ((None,), np.zeros_like(classes)))
        codes = [attribute.code(name) for name in names]
        if None in codes:
            missing = names[codes.index(None)]
            what = f"attribute `{attribute.name}`"
            if missing is None:
                known = listing(sorted(members)) or "none"
                raise routing_error(
                    f"{run.place} did not tell tokens apart by {what}; its attributes: {known}"
                )
            raise routing_error(
                f"{run.place} has tokens of {what} `{missing}`, and the prior has no such member"
            )
        classes = classes * len(attribute.members) + np.array(codes, np.int64)[digit]
    return classes


def _check_unbroken(run: RunRouting, population: NDArray[np.int32], groups: NDArray[np.int64]) -> None:
    """Without sums of token classes, each group must lie within one population."""
    pairs = np.unique(np.stack([groups.ravel(), population.ravel()]), axis=1)
    numbers, count = np.unique(pairs[0], return_counts=True)
    if (count > 1).any():
        name = run.statistics.group_name[int(numbers[np.argmax(count)])]
        raise routing_error(
            f"{run.place} pooled the tokens of `{name}`, which this prior tells apart, and it has too many "
            "token classes to keep sums of each"
        )
