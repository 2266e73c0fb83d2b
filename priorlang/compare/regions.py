"""The cells that ask for something else, in rectangular regions, and how far each moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from priorlang.compare.grid import ABSENT, Grid
from priorlang.semantics.describe import index_set
from priorlang.table.dirichlet import kl, mean, top_k_load
from priorlang.table.prior_table import UNSHAPED, PriorTable
from priorlang.table.rectangles import rectangles

Vector = tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Region:
    """Cells that changed in the same way. Pairs are (before, after).

    Attributes:
        layers: decoder layers, `0..11`.
        classes: the members of each attribute that does not take part with all of its own.
        cells: how many.
        places: [cells], the place of each in the grid.
        state: `shaped`, `unshaped` or `absent`.
        alpha: None where not shaped.
        weight: λ; None where not shaped.
        populations: how many populations the cells' tokens belong to.
        regrouped: whether the cells are pooled with others than before.
        kl: KL(Dir(after) ‖ Dir(before)) in nats, where both are shaped over as many experts and it is finite.
        mean: expected routing probability of each expert; None where not shaped.
        load: expected fraction of the top-k slots of each expert; None where not shaped.
    """

    layers: str
    classes: dict[str, tuple[str, ...]]
    cells: int
    places: NDArray[np.int64]
    state: tuple[str, str]
    alpha: tuple[Vector | None, Vector | None]
    weight: tuple[float | None, float | None]
    populations: tuple[int, int]
    regrouped: bool
    kl: float | None
    mean: tuple[Vector | None, Vector | None]
    load: tuple[Vector | None, Vector | None]

    @property
    def mean_shift(self) -> Vector | None:
        """Change of the expected routing probability of each expert."""
        return _shift(self.mean)

    @property
    def load_shift(self) -> Vector | None:
        """Change of the expected fraction of the top-k slots of each expert."""
        return _shift(self.load)

    @property
    def effect(self) -> float:
        """How much the region matters: its KL, times its cells; infinite for cells that come or go."""
        return np.inf if self.kl is None else self.kl * self.cells


def regions_of(grid: Grid, before: PriorTable, after: PriorTable) -> tuple[Region, ...]:
    """The cells with another α, λ, state or population, in disjoint rectangles: the largest effects first."""
    found = [
        _region(grid, (before, after), rows, regrouped, block)
        for rows, regrouped, places in _same_change(grid, before, after)
        for block in rectangles(places, len(grid.layers), grid.sizes)
    ]
    loads = [
        _loads(table, {region.rows[side] for region in found if region.rows[side] >= 0})
        for side, table in enumerate((before, after))
    ]
    regions = [region.finished(before, after, loads[0], loads[1]) for region in found]
    return tuple(sorted(regions, key=lambda region: (-region.effect, -region.cells, int(region.places[0]))))


@dataclass(frozen=True)
class _Block:
    """A region before its numbers are worked out."""

    layers: str
    classes: dict[str, tuple[str, ...]]
    places: NDArray[np.int64]
    rows: tuple[int, int]
    populations: tuple[int, int]
    regrouped: bool

    def finished(
        self,
        before: PriorTable,
        after: PriorTable,
        loads_before: dict[int, Vector],
        loads_after: dict[int, Vector],
    ) -> Region:
        old, new = self.rows
        alpha_old = before.alpha[old] if old >= 0 else None
        alpha_new = after.alpha[new] if new >= 0 else None
        divergence = None
        if alpha_old is not None and alpha_new is not None and len(alpha_old) == len(alpha_new):
            value = kl(alpha_new, alpha_old)
            divergence = value if np.isfinite(value) else None
        return Region(
            self.layers,
            self.classes,
            len(self.places),
            self.places,
            (_state(old), _state(new)),
            (_numbers(alpha_old), _numbers(alpha_new)),
            (
                float(before.weight[old]) if old >= 0 else None,
                float(after.weight[new]) if new >= 0 else None,
            ),
            self.populations,
            self.regrouped,
            divergence,
            (
                None if alpha_old is None else _numbers(mean(alpha_old)),
                None if alpha_new is None else _numbers(mean(alpha_new)),
            ),
            (loads_before.get(old), loads_after.get(new)),
        )


def _same_change(
    grid: Grid, before: PriorTable, after: PriorTable
) -> Iterator[tuple[tuple[int, int], bool, NDArray[np.int64]]]:
    """(rows before and after, whether regrouped, places) of all cells that changed in one way."""
    old, new = (rows.ravel() for rows in grid.rows)
    regrouped = _regrouped(grid).ravel()
    width = int(new.max(initial=0)) + 3
    keys = 2 * ((old + 2) * width + (new + 2)) + regrouped
    if not keys.size:
        return
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    for places in np.split(order, starts[1:]):
        first = places[0]
        rows = int(old[first]), int(new[first])
        if regrouped[first] or not _same(*rows, before, after):
            yield rows, bool(regrouped[first]), places


def _same(old: int, new: int, before: PriorTable, after: PriorTable) -> bool:
    if old < 0 or new < 0:
        return old == new
    return (
        bool(np.array_equal(before.alpha[old], after.alpha[new])) and before.weight[old] == after.weight[new]
    )


def _regrouped(grid: Grid) -> NDArray[np.bool_]:
    """[L, C]: shaped cells whose population does not hold the same cells on both sides.

    Only shaped cells of both sides take part, so that a cell that comes or goes does not mark others.
    """
    old, new = grid.populations
    both = (old >= 0) & (new >= 0)
    pairs = np.unique(np.stack([old[both], new[both]]), axis=1)
    moved = np.isin(old, _repeated(pairs[0])) | np.isin(new, _repeated(pairs[1]))
    return np.asarray(moved & both)


def _repeated(values: NDArray[np.int64]) -> NDArray[np.int64]:
    found, counts = np.unique(values, return_counts=True)
    return np.asarray(found[counts > 1])


def _region(
    grid: Grid,
    tables: tuple[PriorTable, PriorTable],
    rows: tuple[int, int],
    regrouped: bool,
    block: tuple[tuple[int, ...], tuple[tuple[int, ...], ...]],
) -> _Block:
    layers, members = block
    classes = {
        attribute.name: tuple(attribute.members[code] for code in chosen)
        for attribute, chosen in zip(grid.attributes, members, strict=False)
        if len(chosen) < len(attribute.members)
    }
    places = np.ravel_multi_index(np.ix_(layers, *members), (len(grid.layers), *grid.sizes)).ravel()
    populations = [
        len(np.unique(numbers[numbers >= 0]))
        for numbers in (side.ravel()[places] for side in grid.populations)
    ]
    return _Block(
        index_set(grid.layers[index] for index in layers),
        classes,
        places,
        rows,
        (populations[0], populations[1]),
        regrouped,
    )


def _loads(table: PriorTable, rows: set[int]) -> dict[int, Vector]:
    chosen = sorted(rows)
    if not chosen:
        return {}
    return dict(
        zip(chosen, map(tuple, top_k_load(table.alpha[chosen], table.header.top_k).tolist()), strict=True)
    )


def _shift(pair: tuple[Vector | None, Vector | None]) -> Vector | None:
    old, new = pair
    if old is None or new is None or len(old) != len(new):
        return None
    return tuple(b - a for a, b in zip(old, new, strict=True))


def _state(row: int) -> str:
    return {ABSENT: "absent", UNSHAPED: "unshaped"}.get(row, "shaped")


def _numbers(values: NDArray[np.float64] | None) -> Vector | None:
    return None if values is None else tuple(values.tolist())
