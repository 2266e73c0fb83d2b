"""Two priors → what differs: declarations, rules, and cells in rectangular regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from priorlang.compare.grid import ABSENT, Grid, grid_of
from priorlang.semantics.describe import describe_rule, index_set
from priorlang.semantics.spec import Spec
from priorlang.table.dirichlet import kl
from priorlang.table.prior_table import UNSHAPED, PriorTable
from priorlang.table.rectangles import rectangles


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a table, and the Spec it came from where there is one."""

    name: str
    table: PriorTable
    spec: Spec | None = None


@dataclass(frozen=True)
class Declaration:
    """Something stated outside rules that differs; None where a side lacks it."""

    kind: str
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class RuleChange:
    """A rule that both sides have under one name, and that does something else."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class RuleDifference:
    """Rules matched by name, then by effect."""

    added: tuple[tuple[str, str], ...] = ()
    removed: tuple[tuple[str, str], ...] = ()
    changed: tuple[RuleChange, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Region:
    """Cells that changed in the same way. α and λ are None where a side is unshaped or has no such cell."""

    layers: str
    classes: dict[str, tuple[str, ...]]
    cells: int
    alpha: tuple[tuple[float, ...] | None, tuple[float, ...] | None]
    weight: tuple[float | None, float | None]
    state: tuple[str, str]
    """Of each side: `shaped`, `unshaped` or `absent`."""
    regrouped: bool
    """Whether tokens are pooled into other populations."""
    kl: float | None
    """KL(Dir(after) ‖ Dir(before)) in nats, where both are shaped over as many experts and it is finite."""
    mean_shift: tuple[float, ...] | None
    """Change of the expected routing probability of each expert."""


@dataclass(frozen=True)
class Difference:
    """Everything that differs between two priors. `identical` is about meaning, not about text."""

    identical: bool
    declarations: tuple[Declaration, ...]
    rules: RuleDifference
    total_cells: int
    changed_cells: int
    regions: tuple[Region, ...]


def compare(before: Side, after: Side) -> Difference:
    """Compare two priors."""
    grid = grid_of(before.table, after.table)
    regions = tuple(sorted(_regions(grid, before.table, after.table), key=_effect, reverse=True))
    return Difference(
        before.table.header.normal_form == after.table.header.normal_form,
        _declarations(before, after),
        _rules(before.spec, after.spec),
        grid.rows[0].size,
        sum(region.cells for region in regions),
        regions,
    )


# --- declarations and rules --------------------------------------------------------------------------


def _declarations(before: Side, after: Side) -> tuple[Declaration, ...]:
    found: list[Declaration] = []
    old, new = _stated(before), _stated(after)
    for key in [*old, *(key for key in new if key not in old)]:
        if old.get(key) != new.get(key):
            found.append(Declaration(*key, old.get(key), new.get(key)))
    return tuple(found)


def _stated(side: Side) -> dict[tuple[str, str], str]:
    header = side.table.header
    stated = {
        ("model", "layers"): str(header.layers),
        ("model", "experts"): str(header.experts),
        ("model", "top_k"): str(header.top_k),
        ("model", "routed"): index_set(int(layer) for layer in side.table.layer),
    }
    for attribute in header.attributes:
        stated["attribute", attribute.name] = ", ".join(sorted(attribute.members))
    if header.schedule:
        sign = "%" if header.schedule_unit == "fraction" else ""
        scale = 100 if header.schedule_unit == "fraction" else 1
        points = (f"{place * scale:g}{sign}: {factor:g}" for place, factor in header.schedule)
        stated["schedule", ""] = ", ".join(points)
    return stated


def _rules(before: Spec | None, after: Spec | None) -> RuleDifference:
    if before is None or after is None:
        return RuleDifference()
    old = {rule.name: describe_rule(before, rule) for rule in (before.default, *before.rules)}
    new = {rule.name: describe_rule(after, rule) for rule in (after.default, *after.rules)}
    changed = tuple(
        RuleChange(name, old[name], new[name]) for name in old if name in new and old[name] != new[name]
    )
    removed = {name: text for name, text in old.items() if name not in new}
    added = {name: text for name, text in new.items() if name not in old}
    renamed = []
    for name, text in list(removed.items()):
        same = next((other for other, other_text in added.items() if other_text == text), None)
        if same is not None:
            renamed.append((name, same))
            del removed[name], added[same]
    return RuleDifference(tuple(added.items()), tuple(removed.items()), changed, tuple(renamed))


# --- cells -------------------------------------------------------------------------------------------


def _regions(grid: Grid, before: PriorTable, after: PriorTable) -> list[Region]:
    """Cells with the same change, in rectangles."""
    row_before, row_after = grid.rows
    width = int(row_after.max(initial=0)) + 3
    keys = (row_before + 2) * width + (row_after + 2)
    regrouped = _regrouped(grid)
    found: list[Region] = []
    for key in np.unique(keys):
        old, new = int(key) // width - 2, int(key) % width - 2
        same = _same(old, new, before, after)
        for moved in (False, True):
            mask = (keys == key) & (regrouped == moved)
            if (same and not moved) or not mask.any():
                continue
            for layers, members in rectangles(np.flatnonzero(mask), len(grid.layers), grid.sizes):
                found.append(_region(grid, before, after, (old, new), layers, members, moved))
    return found


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
    twice_old = {int(value) for value in pairs[0][_repeated(pairs[0])]}
    twice_new = {int(value) for value in pairs[1][_repeated(pairs[1])]}
    moved = np.isin(old, list(twice_old)) | np.isin(new, list(twice_new))
    return np.asarray(moved & both)


def _repeated(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse] > 1, dtype=np.bool_)


def _region(
    grid: Grid,
    before: PriorTable,
    after: PriorTable,
    rows: tuple[int, int],
    layers: tuple[int, ...],
    members: tuple[tuple[int, ...], ...],
    regrouped: bool,
) -> Region:
    classes = {
        name: tuple(all_members[index] for index in chosen)
        for (name, all_members), chosen in zip(grid.attributes, members, strict=False)
        if len(chosen) < len(all_members)
    }
    old = before.alpha[rows[0]] if rows[0] >= 0 else None
    new = after.alpha[rows[1]] if rows[1] >= 0 else None
    comparable = old is not None and new is not None and len(old) == len(new)
    return Region(
        index_set(grid.layers[index] for index in layers),
        classes,
        len(layers) * int(np.prod([len(chosen) for chosen in members])),
        (_numbers(old), _numbers(new)),
        (
            float(before.weight[rows[0]]) if rows[0] >= 0 else None,
            float(after.weight[rows[1]]) if rows[1] >= 0 else None,
        ),
        (_state(rows[0]), _state(rows[1])),
        regrouped,
        _finite(kl(new, old)) if comparable and old is not None and new is not None else None,
        _numbers(new / new.sum() - old / old.sum())
        if comparable and old is not None and new is not None
        else None,
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _effect(region: Region) -> tuple[float, int]:
    """How much a region matters: cells that come or go first, then by KL, then by size."""
    return (np.inf if region.kl is None else region.kl, region.cells)


def _state(row: int) -> str:
    return {ABSENT: "absent", UNSHAPED: "unshaped"}.get(row, "shaped")


def _numbers(values: NDArray[np.float64] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(float(value) for value in values)
