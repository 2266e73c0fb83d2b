"""The cells of a grid: a training plan for each variant and seed, and for each setting that is tried."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.suggest import listing
from priorlang.files import write_whole
from priorlang.grid.load import LoadedGrid
from priorlang.grid.plan import Combined
from priorlang.phases import Prior
from priorlang.settings import settings_of
from priorlang.training.load import LoadedPlan, read_plan
from priorlang.training.plan import StagePlan, TrainingPlan

PRIOR_PARAMETER = "prior."
"""What a searched parameter of the prior begins with; others are places of the training file."""


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        variant: its name.
        seed: of everything in `seed_places`.
        plan: what is trained, and where.
        setting: position of the value that is tried, while searching; None for a cell that is reported.
    """

    variant: str
    seed: int
    plan: TrainingPlan
    setting: int | None = None

    @property
    def name(self) -> str:
        """What progress calls it."""
        tried = "" if self.setting is None else f", setting {self.setting + 1}"
        return f"{self.variant}{tried}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Its run folder."""
        return self.plan.output_dir


def reported_cells(grid: LoadedGrid, chosen: Mapping[str, Any], priors: Path) -> list[Cell]:
    """The cells of the table, seed by seed, so that a grid that is cut short has seen every variant.

    Args:
        grid: the grid.
        chosen: variant → the value that its search settled on; a variant that still searches has no cells.
        priors: a folder for priors with other parameters.

    Raises:
        PriorError: a variant makes no sound training file.
    """
    plan = grid.plan
    found = []
    for seed in plan.seeds:
        for name, variant in plan.variants.items():
            folder = plan.output_dir / "cells" / name / f"seed-{seed}"
            if variant.search and name not in chosen:
                continue
            value = {variant.search[0]: chosen[name]} if variant.search else {}
            found.append(Cell(name, seed, _plan(grid, name, variant, value, seed, folder, priors)))
    _check_metrics(grid, found)
    return found


def search_cells(grid: LoadedGrid, priors: Path) -> list[Cell]:
    """The cells that are trained to choose each variant's setting; none without `search`.

    Raises:
        PriorError: a setting makes no sound training file.
    """
    search = grid.plan.search
    if search is None:
        return []
    found = []
    for seed in search.seeds:
        for name, variant in grid.plan.variants.items():
            path, values = variant.search or ("", ())
            for index, value in enumerate(values):
                folder = grid.plan.output_dir / "search" / name / f"setting-{index + 1}" / f"seed-{seed}"
                plan = _plan(grid, name, variant, {**search.set, path: value}, seed, folder, priors)
                found.append(Cell(name, seed, plan, index))
    return found


def selected(cells: Sequence[Cell], only: Sequence[str], seeds: int | None) -> list[Cell]:
    """The cells of these variants (all where none is named) and of the first so many seeds."""
    first = list(dict.fromkeys(cell.seed for cell in cells))[:seeds]
    return [cell for cell in cells if (not only or cell.variant in only) and cell.seed in first]


def _plan(
    grid: LoadedGrid,
    name: str,
    variant: Combined,
    more: Mapping[str, Any],
    seed: int,
    folder: Path,
    priors: Path,
) -> TrainingPlan:
    base = _read(grid, name, {})
    parameters = {
        **variant.parameters,
        **{
            path.removeprefix(PRIOR_PARAMETER): value
            for path, value in more.items()
            if path.startswith(PRIOR_PARAMETER)
        },
    }
    settings = {**_inserted(grid, name, variant, base), **grid.plan.set, **variant.set}
    settings |= {path: value for path, value in more.items() if not path.startswith(PRIOR_PARAMETER)}
    prior = variant.prior or base.plan.prior
    if parameters and prior is None:
        message = f"variant `{name}` gives parameters to a prior, and there is none: name one as `prior:`"
        raise PriorError([_finding(grid, "missing-key", message, name, "parameters")])
    if parameters and prior is not None:
        _check_parameters(grid, name, prior, parameters)
        prior = with_parameters(prior, parameters, priors)
    if prior is not None and (parameters or variant.prior is not None):
        settings["prior"] = str(prior)
    places = grid.plan.seed_places
    settings |= dict.fromkeys(_seed_places(base, settings) if places is None else places, seed)
    plan = _read(grid, name, settings).plan
    return plan.model_copy(update={"output_dir": folder, "stages": _through(grid, name, plan.stages)})


def _inserted(grid: LoadedGrid, name: str, variant: Combined, base: LoadedPlan) -> dict[str, Any]:
    """The training file's stages with those of the variant among them; nothing where it has none."""
    if not variant.insert_after:
        return {}
    stages = []
    known = [stage.name for stage in base.plan.stages]
    for follows in variant.insert_after:
        if follows not in known:
            message = f"variant `{name}`: there is no stage `{follows}` to insert stages after; there are {listing(known)}"
            raise PriorError([_finding(grid, "unknown-name", message, name, "insert_after", follows)])
    for entry in base.tree.root.get("stages", [{"name": "train"}]):
        stages += [entry, *variant.insert_after.get(entry["name"], ())]
    return {"stages": stages}


def _through(grid: LoadedGrid, name: str, stages: tuple[StagePlan, ...]) -> tuple[StagePlan, ...]:
    """The stages up to the last that is asked for."""
    last = grid.plan.through
    names = [stage.name for stage in stages]
    if last is None:
        return stages
    if last not in names:
        message = f"variant `{name}` has no stage `{last}`; it has {listing(names)}"
        span = grid.tree.value_span(("through",))
        raise PriorError([Finding("unknown-name", Severity.ERROR, message, span)])
    return stages[: names.index(last) + 1]


def _read(grid: LoadedGrid, name: str, settings: Mapping[str, Any]) -> LoadedPlan:
    """The training file under these settings; what is wrong with one is said at its place in the grid file."""
    if not settings:
        return read_plan(grid.plan.base)
    try:
        return read_plan(grid.plan.base, settings)
    except PriorError as error:
        raise PriorError([_moved(grid, name, finding) for finding in error.findings]) from None


def _moved(grid: LoadedGrid, name: str, finding: Finding) -> Finding:
    message = f"variant `{name}`: {finding.message}"
    if not finding.span.file.startswith("--set "):
        return Finding(finding.name, finding.severity, message, finding.span, finding.related)
    dotted = finding.span.file.removeprefix("--set ").partition("=")[0]
    keys = ("prior",) if dotted == "prior" else ("set", dotted)
    return _finding(grid, finding.name, message, name, *keys)


def _check_parameters(
    grid: LoadedGrid, name: str, prior: Path, parameters: Mapping[str, int | float]
) -> None:
    """A file that restates a parameter would declare one that is not there."""
    try:
        found = Prior.read(prior, settings_of(parameters)).findings
    except PriorError as error:
        found = error.findings
    wrong = [finding for finding in found if finding.span.file.startswith("--set")]
    if wrong:
        raise PriorError(
            [
                _finding(grid, finding.name, f"variant `{name}`: {finding.message}", name, "parameters")
                for finding in wrong
            ]
        )


def _finding(grid: LoadedGrid, code: str, message: str, variant: str, *keys: str) -> Finding:
    return Finding(code, Severity.ERROR, message, grid.tree.value_span(grid.place(variant, *keys)))


def with_parameters(prior: Path, parameters: Mapping[str, int | float], folder: Path) -> Path:
    """A prior file in `folder` that imports `prior` and restates its parameters.

    Raises:
        PriorError: it cannot be written.
    """
    lines = [f"param {name} = {format(Decimal(str(value)), 'f')}" for name, value in parameters.items()]
    text = f'priorlang 1\n\nimport "{prior}"\n\n' + "\n".join(lines) + "\n"
    place = folder / f"{prior.stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.prior"
    folder.mkdir(parents=True, exist_ok=True)
    if not place.is_file():
        write_whole(place, text.encode())
    return place


def _seed_places(base: LoadedPlan, settings: Mapping[str, Any]) -> Iterator[str]:
    """Everywhere where the training file has a seed."""
    yield "seed"
    root = base.tree.root
    if root.get("model") is not None:
        yield "model.seed"
    if root.get("upcycle") is not None or "upcycle" in settings:
        yield "upcycle.seed"
    for index, stage in enumerate(root.get("stages") or ()):
        if "seed" in stage:
            yield f"stages.{index}.seed"
        if isinstance(stage.get("upcycle"), dict):
            yield f"stages.{index}.upcycle.seed"


def _check_metrics(grid: LoadedGrid, cells: list[Cell]) -> None:
    """A metric is read at the end of a stage that some variant has."""
    stages = {stage.name for cell in cells for stage in cell.plan.stages}
    asked = [("metrics", metric) for metric in grid.plan.metrics]
    if grid.plan.search is not None:
        asked.append(("search", grid.plan.search.metric))
    for key, metric in asked:
        if metric.stage is not None and metric.stage not in stages:
            message = f"`{metric.name}`: no variant has a stage `{metric.stage}`; there are {', '.join(sorted(stages))}"
            raise PriorError([Finding("unknown-name", Severity.ERROR, message, grid.tree.value_span((key,)))])
