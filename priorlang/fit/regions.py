"""α of every cell → a base for all, and effects on rectangles of cells: as few as there can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from priorlang.fit.numbers import Alpha
from priorlang.fit.units import NONE
from priorlang.table.rectangles import Rectangle, rectangles


@dataclass(frozen=True)
class Effects:
    """What one rule does: a base of its own, and for each amount the experts it prefers (or, below 0, avoids)."""

    base: Fraction | None = None
    pushes: tuple[tuple[Fraction, tuple[int, ...]], ...] = ()


@dataclass(frozen=True)
class Region:
    """A rule to be: a rectangle of cells and what holds there."""

    cells: Rectangle
    effects: Effects


@dataclass(frozen=True)
class Layout:
    """A base for all cells, and the regions that differ from it."""

    base: Fraction
    regions: tuple[Region, ...] = field(default=())


def layout_of(cluster: NDArray[np.int64], alpha: Sequence[Alpha], sizes: Sequence[int]) -> Layout:
    """Lay the priors of all cells out as regions.

    Two ways are tried, and the one with fewer regions is taken: a region for the cells of each prior; or regions
    for the cells in which a set of experts gets the same, so that what holds for vision and what holds for a task
    need no rule for each pair.

    Args:
        cluster: [L, C], the prior of each cell; -1 where only the base holds.
        alpha: the priors.
        sizes: members of each attribute; (1,) without attributes.
    """
    base = _most_common(_most_common(alpha[number]) for number in cluster[cluster != NONE].ravel().tolist())
    effects = [_effects(values, base) for values in alpha]
    whole: dict[Effects, NDArray[np.bool_]] = {}
    for number, effect in enumerate(effects):
        if effect != Effects():
            mask = cluster == number
            whole[effect] = mask | whole[effect] if effect in whole else mask
    together = _regions(whole, sizes)
    apart = _regions(_by_expert_set(cluster, effects), sizes)
    return Layout(base, tuple(apart if len(apart) < len(together) else together))


def _most_common(values: Iterable[Fraction]) -> Fraction:
    """The most common value, the least of several; 1 where there is none."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value)) if counts else Fraction(1)


def _effects(alpha: Alpha, base: Fraction) -> Effects:
    """A prior relative to the base of all, or to a base of its own where no expert has that."""
    own = base if base in alpha else _most_common(alpha)
    pushes: dict[Fraction, list[int]] = {}
    for expert, value in enumerate(alpha):
        if value != own:
            pushes.setdefault(value - own, []).append(expert)
    ordered = tuple((amount, tuple(experts)) for amount, experts in sorted(pushes.items(), reverse=True))
    return Effects(None if own == base else own, ordered)


def _by_expert_set(
    cluster: NDArray[np.int64], effects: Sequence[Effects]
) -> dict[Effects, NDArray[np.bool_]]:
    """Effects on cells, one for each set of experts that is pushed alike everywhere."""
    amounts: dict[int, list[Fraction]] = {}
    for number, effect in enumerate(effects):
        for amount, experts in effect.pushes:
            for expert in experts:
                amounts.setdefault(expert, [Fraction(0)] * len(effects))[number] = amount
    alike: dict[tuple[Fraction, ...], list[int]] = {}
    for expert in sorted(amounts):
        alike.setdefault(tuple(amounts[expert]), []).append(expert)
    masks: dict[Effects, NDArray[np.bool_]] = {}
    for base in {effect.base for effect in effects if effect.base is not None}:
        masks[Effects(base)] = np.isin(
            cluster, [n for n, effect in enumerate(effects) if effect.base == base]
        )
    for by_prior, pushed in alike.items():
        for amount in sorted(set(by_prior) - {Fraction(0)}):
            chosen = [number for number, value in enumerate(by_prior) if value == amount]
            masks[Effects(None, ((amount, tuple(pushed)),))] = np.isin(cluster, chosen)
    return _joined(masks)


def _joined(masks: dict[Effects, NDArray[np.bool_]]) -> dict[Effects, NDArray[np.bool_]]:
    """Effects on the same cells as one."""
    same: dict[bytes, tuple[Effects, NDArray[np.bool_]]] = {}
    for effect, mask in masks.items():
        before = same.get(mask.tobytes(), (Effects(), mask))[0]
        pushes = tuple(sorted(before.pushes + effect.pushes, reverse=True))
        base = before.base if effect.base is None else effect.base
        same[mask.tobytes()] = (Effects(base, pushes), mask)
    return dict(same.values())


def _regions(masks: dict[Effects, NDArray[np.bool_]], sizes: Sequence[int]) -> list[Region]:
    found = [
        Region(cells, effect)
        for effect, mask in masks.items()
        for cells in rectangles(np.flatnonzero(mask), len(mask), sizes)
    ]
    return sorted(found, key=lambda region: (region.cells[1], region.cells[0]))
