"""Everything that came out of a grid, as one document: what results.json holds and the table is written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from priorlang.grid.cells import Cell
from priorlang.grid.measured import Measured, measured_on
from priorlang.grid.notes import notes
from priorlang.grid.paired import CONFIDENCE, Paired, Summary, compare, summarise
from priorlang.grid.plan import GridPlan
from priorlang.grid.results import cell_values
from priorlang.grid.search import Choice


@dataclass(frozen=True)
class Status:
    """Where a cell stands: `done`, `failed` with its error, or `waiting`."""

    state: str
    error: str = ""


@dataclass(frozen=True)
class Row:
    """A variant: its cells by seed, and its numbers by metric."""

    variant: str
    about: str
    cells: Mapping[int, Status]
    folders: Mapping[int, Path]
    values: Mapping[str, Mapping[int, float]]
    summary: Mapping[str, Summary | None]
    difference: Mapping[str, Paired | None]
    choice: Choice | None


@dataclass(frozen=True)
class Document:
    """A grid's results.

    Attributes:
        plan: the grid.
        rows: one per variant, in the file's order.
        once: stages that all seeds share: what they would vary is not in the spread.
        measured: on which data its metrics are measured.
    """

    plan: GridPlan
    rows: tuple[Row, ...]
    once: tuple[str, ...]
    measured: Measured

    @property
    def failed(self) -> list[tuple[str, int, str]]:
        """Variant, seed and error of each cell that failed."""
        return [
            (row.variant, seed, status.error)
            for row in self.rows
            for seed, status in row.cells.items()
            if status.state == "failed"
        ]

    def to_json(self) -> dict[str, Any]:
        """What results.json holds."""
        return {
            "version": 1,
            "base": str(self.plan.base),
            "reference": self.plan.reference_name,
            "seeds": list(self.plan.seeds),
            "confidence": CONFIDENCE,
            "metrics": [
                {
                    "name": metric.name,
                    "title": metric.title,
                    "better": metric.wins,
                    "paired": metric.paired,
                }
                for metric in self.plan.metrics
            ],
            "stages_all_seeds_share": list(self.once),
            "search": self._search(),
            "variants": [self._row(row) for row in self.rows],
            "notes": list(notes(self)),
        }

    def _search(self) -> dict[str, Any] | None:
        search = self.plan.search
        if search is None:
            return None
        return {"metric": search.metric.title, "seeds": list(search.seeds), "settings": search.settings}

    def _row(self, row: Row) -> dict[str, Any]:
        output = self.plan.output_dir
        return {
            "name": row.variant,
            "about": row.about,
            "search": asdict(row.choice) if row.choice else None,
            "cells": [
                {
                    "seed": seed,
                    "folder": str(row.folders[seed].relative_to(output)),
                    "state": status.state,
                    "error": status.error or None,
                    "values": {name: values.get(seed) for name, values in row.values.items()},
                }
                for seed, status in row.cells.items()
            ],
            "summary": {name: asdict(found) if found else None for name, found in row.summary.items()},
            "difference": {name: asdict(found) if found else None for name, found in row.difference.items()},
        }


def document_of(
    plan: GridPlan,
    cells: Sequence[Cell],
    status: Mapping[Path, Status],
    once: Sequence[str],
    chosen: Mapping[str, Choice],
) -> Document:
    """Read what the finished cells hold.

    Args:
        plan: the grid.
        cells: its reported cells.
        status: run folder → where it stands.
        once: stages that all seeds share.
        chosen: what the search settled on.
    """
    values = {
        variant: {metric.name: _by_seed(variant, metric.name, cells, status, plan) for metric in plan.metrics}
        for variant in plan.variants
    }
    reference = values[plan.reference_name]
    rows = []
    for name, variant in plan.variants.items():
        own = [cell for cell in cells if cell.variant == name]
        rows.append(
            Row(
                name,
                variant.about,
                {cell.seed: status.get(cell.folder, Status("waiting")) for cell in own},
                {cell.seed: cell.folder for cell in own},
                values[name],
                {metric: summarise(list(found.values())) for metric, found in values[name].items()},
                {
                    metric.name: compare(values[name][metric.name], reference[metric.name], metric.wins)
                    for metric in plan.metrics
                    if name != plan.reference_name
                },
                chosen.get(name),
            )
        )
    return Document(plan, tuple(rows), tuple(once), measured_on(plan.metrics, cells))


def _by_seed(
    variant: str, metric: str, cells: Sequence[Cell], status: Mapping[Path, Status], plan: GridPlan
) -> dict[int, float]:
    found = {}
    for cell in cells:
        if cell.variant == variant and status.get(cell.folder, Status("waiting")).state == "done":
            stages = [stage.name for stage in cell.plan.stages]
            value = cell_values(cell.folder, plan.metrics, stages)[metric]
            if value is not None:
                found[cell.seed] = value
    return found
