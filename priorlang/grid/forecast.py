"""What a grid will train, before it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from priorlang.diagnostics.human import counted
from priorlang.grid.cells import reported_cells, search_cells, selected
from priorlang.grid.jobs import Job, jobs_of, same_cells
from priorlang.grid.load import LoadedGrid
from priorlang.training.plan import StagePlan


def forecast(grid: LoadedGrid, priors: Path, only: Sequence[str], seeds: int | None, processes: int) -> str:
    """The plan of a grid for people. While nothing has been chosen yet, each first setting stands for what will be.

    Raises:
        PriorError: a variant makes no sound training file, or a prior is wrong.
    """
    plan = grid.plan
    lines = []
    searching = jobs_of(selected(search_cells(grid, priors), only, None), plan.shared, processes)
    if searching and plan.search is not None:
        lines += [f"to choose settings by {plan.search.metric.name}:", *_jobs(searching), ""]
    cells = selected(reported_cells(grid, first_settings(grid), priors), only, seeds)
    jobs = jobs_of(cells, plan.shared, processes)
    lines += _jobs(jobs)
    lines += [f"the same: {', '.join(names)} train exactly the same" for names in same_cells(jobs)]
    return "\n".join([*lines, "", *_variants(jobs), f"output: {plan.output_dir}"])


def first_settings(grid: LoadedGrid) -> Mapping[str, Any]:
    """The first setting of each variant that has a search."""
    return {name: variant.search[1][0] for name, variant in grid.plan.variants.items() if variant.search}


def _jobs(jobs: Sequence[Job]) -> list[str]:
    cells = [job for job in jobs if job.cell is not None]
    shared = [job for job in jobs if job.cell is None]
    done = sum((job.folder / "model").is_dir() for job in cells)
    trained = sum(len(job.own_stages) for job in jobs)
    alone = sum(len(job.plan.stages) for job in cells)
    variants, seeds = (
        {job.cell.variant for job in cells if job.cell},
        {job.cell.seed for job in cells if job.cell},
    )
    lines = [
        f"{counted(len(cells), 'cell')} ({counted(len(variants), 'variant')}, {counted(len(seeds), 'seed')}), {done} done; "
        f"{counted(trained, 'stage')} to train, {alone} if no cell shared any"
    ]
    for job in shared:
        steps = ", ".join(_steps(job.plan.stage(name)) for name in job.own_stages)
        lines.append(f"  once for {job.cells} cells: {steps}")
    return lines


def _variants(jobs: Sequence[Job]) -> list[str]:
    """What a cell of each variant trains itself."""
    own: dict[str, str] = {}
    for job in jobs:
        if job.cell is not None:
            stages = ", ".join(_steps(job.plan.stage(name)) for name in job.own_stages)
            own.setdefault(job.cell.variant, stages or "nothing")
    width = max(map(len, own), default=0)
    return [f"{name.ljust(width)}  {stages}" for name, stages in own.items()]


def _steps(stage: StagePlan) -> str:
    amount = f"{stage.max_steps} steps" if stage.max_steps > 0 else f"{stage.num_train_epochs:g} epochs"
    kind = " · shaped" if stage.shape else " · experts" if stage.moe else ""
    return f"{stage.name} ({amount}{kind})"
