"""A grid's folder as it stands on disk → a GridRecord, however many of its cells have run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpsl.errors import DpslError
from dpsl.report.read import RunRecord, read_run
from priorlang.grid.paired import CONFIDENCE, Paired, Summary

RESULTS, GRID = "results.json", "grid.yaml"
DONE, FAILED, WAITING = "done", "failed", "waiting"


@dataclass(frozen=True)
class MetricRecord:
    """A column of the table: `better` is `higher`, `lower` or None; `paired`, whether variants are compared in it."""

    name: str
    title: str
    better: str | None = None
    paired: bool = True


@dataclass(frozen=True, eq=False)
class CellRecord:
    """One variant with one seed: `run` is None until it is done, or where its folder has gone."""

    seed: int
    state: str
    error: str
    folder: str
    values: Mapping[str, float]
    run: RunRecord | None


@dataclass(frozen=True, eq=False)
class VariantRecord:
    """A variant: its cells by seed, and its numbers by metric, None where no cell has any."""

    name: str
    about: str
    cells: tuple[CellRecord, ...]
    summary: Mapping[str, Summary | None]
    difference: Mapping[str, Paired | None]
    search: Mapping[str, Any] | None

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """Of the finished cells, by seed."""
        return tuple(cell.run for cell in self.cells if cell.run is not None)


@dataclass(frozen=True, eq=False)
class GridRecord:
    """A whole grid, finished or not.

    Attributes:
        name: of its folder.
        reference: the variant that others are compared with.
        seeds: of the reported cells.
        confidence: of the intervals.
        metrics: columns of the table.
        variants: in the grid file's order.
        once: stages that all seeds share.
        search: how settings were chosen; None without a search.
        notes: what the numbers do not say.
        grid_text: the grid file.
        remarks: what could not be read, a sentence each.
    """

    name: str
    reference: str
    seeds: tuple[int, ...]
    confidence: float
    metrics: tuple[MetricRecord, ...]
    variants: tuple[VariantRecord, ...]
    once: tuple[str, ...]
    search: Mapping[str, Any] | None
    notes: tuple[str, ...]
    grid_text: str
    remarks: tuple[str, ...] = ()

    @property
    def cells(self) -> list[tuple[str, CellRecord]]:
        """Every cell with the name of its variant."""
        return [(variant.name, cell) for variant in self.variants for cell in variant.cells]

    @property
    def routing_stage(self) -> str | None:
        """The stage whose routing the first metric of routing is of; None: the last."""
        named = [metric.name.rpartition("/")[0] for metric in self.metrics if "routing." in metric.name]
        return named[0] if named and named[0] else None

    def count(self, state: str) -> int:
        """Cells in a state."""
        return sum(cell.state == state for _, cell in self.cells)


def is_grid(path: Path) -> bool:
    """Whether a folder is one that `priorlang grid` writes."""
    return (path / RESULTS).is_file() or (path / GRID).is_file()


def read_grid_folder(path: Path) -> GridRecord:
    """Read a grid's folder; one whose first cells have not begun has no variants yet.

    Raises:
        DpslError: its results.json cannot be read.
    """
    place = path / RESULTS
    try:
        results = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
        return _grid(path, results)
    except OSError as error:
        raise DpslError(str(place), f"cannot be read ({error.strerror})", "change its permissions") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        reason, fix = "this is not what `priorlang grid` writes", "run `priorlang grid` again"
        raise DpslError(str(place), reason, fix) from None


def _grid(path: Path, results: Mapping[str, Any]) -> GridRecord:
    remarks: dict[str, list[str]] = {}
    variants = tuple(_variant(path, each, remarks) for each in results.get("variants", ()))
    file = path / GRID
    return GridRecord(
        name=path.resolve().name,
        reference=str(results.get("reference", "")),
        seeds=tuple(results.get("seeds", ())),
        confidence=float(results.get("confidence", CONFIDENCE)),
        metrics=tuple(MetricRecord(**metric) for metric in results.get("metrics", ())),
        variants=variants,
        once=tuple(results.get("stages_all_seeds_share", ())),
        search=results.get("search"),
        notes=tuple(results.get("notes", ())),
        grid_text=file.read_text(encoding="utf-8", errors="replace") if file.is_file() else "",
        remarks=tuple(f"{remark} ({', '.join(cells)})" for remark, cells in remarks.items()),
    )


def _variant(path: Path, given: Mapping[str, Any], remarks: dict[str, list[str]]) -> VariantRecord:
    return VariantRecord(
        name=given["name"],
        about=given.get("about") or "",
        cells=tuple(_cell(path, cell, remarks) for cell in given["cells"]),
        summary={name: Summary(**found) if found else None for name, found in given["summary"].items()},
        difference={name: Paired(**found) if found else None for name, found in given["difference"].items()},
        search=given.get("search"),
    )


def _cell(path: Path, given: Mapping[str, Any], remarks: dict[str, list[str]]) -> CellRecord:
    folder, run = path / given["folder"], None
    if given["state"] == DONE:
        try:
            run = read_run(folder)
            told = run.remarks
        except DpslError:
            told = ("The run has gone, so figures leave it out.",)
        for remark in told:
            remarks.setdefault(remark, []).append(given["folder"])
    return CellRecord(
        seed=given["seed"],
        state=given["state"],
        error=given.get("error") or "",
        folder=given["folder"],
        values={name: value for name, value in given["values"].items() if value is not None},
        run=run,
    )
