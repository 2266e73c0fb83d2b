"""The setting that each variant's search settled on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from priorlang.grid.cells import Cell
from priorlang.grid.plan import GridPlan, Metric
from priorlang.grid.results import cell_values


@dataclass(frozen=True)
class Tried:
    """One setting: its value, its mean over the seeds of the search, and of how many it is."""

    value: Any
    mean: float | None
    n: int


@dataclass(frozen=True)
class Choice:
    """A variant's parameter, all that was tried, and the position of the best; None where none can be told."""

    path: str
    tried: tuple[Tried, ...]
    best: int | None

    @property
    def value(self) -> Any:
        """The chosen value."""
        return None if self.best is None else self.tried[self.best].value


def choices(plan: GridPlan, cells: Sequence[Cell], done: Mapping[Path, bool]) -> dict[str, Choice]:
    """Choose each variant's setting by its mean metric. A tie goes to the setting that is named first.

    A setting counts only where all its seeds are done and have the metric: a method that fails on a seed cannot be chosen for
    the others.

    Args:
        plan: the grid.
        cells: those of the search.
        done: run folder → whether it is done.
    """
    if plan.search is None:
        return {}
    found = {}
    for name, variant in plan.variants.items():
        if variant.search is None:
            continue
        path, values = variant.search
        tried = []
        for index, value in enumerate(values):
            here = [cell for cell in cells if cell.variant == name and cell.setting == index]
            scores = [_score(cell, plan.search.metric) for cell in here if done.get(cell.folder)]
            known = [score for score in scores if score is not None]
            whole = len(known) == len(plan.search.seeds)
            tried.append(Tried(value, fmean(known) if whole else None, len(known)))
        found[name] = Choice(path, tuple(tried), _best(tried, plan.search.metric))
    return found


def _score(cell: Cell, metric: Metric) -> float | None:
    stages = [stage.name for stage in cell.plan.stages]
    return cell_values(cell.folder, [metric], stages)[metric.name]


def _best(tried: Sequence[Tried], metric: Metric) -> int | None:
    sign = -1 if metric.wins == "lower" else 1
    known = [(sign * item.mean, -index) for index, item in enumerate(tried) if item.mean is not None]
    return -max(known)[1] if known else None
