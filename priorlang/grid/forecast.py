"""What a grid will train, before it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from priorlang.diagnostics.human import counted
from priorlang.grid.cells import reported_cells, search_cells, selected
from priorlang.grid.jobs import Job, jobs_of, same_cells
from priorlang.grid.load import LoadedGrid
from priorlang.grid.search import choices
from priorlang.training.plan import StagePlan


class Standing(NamedTuple):
    """How far a job is: whether nothing is left to do, and how many stages are left to train."""

    done: bool
    left: int


def not_begun(job: Job) -> Standing:
    """The standing of a job that nothing was done for."""
    return Standing(False, len(job.own_stages))


def forecast(
    grid: LoadedGrid,
    priors: Path,
    only: Sequence[str],
    seeds: int | None,
    processes: int,
    standing: Callable[[Job], Standing] = not_begun,
    refuse: Callable[[Sequence[Job]], None] = lambda _: None,
) -> str:
    """The plan of a grid for people. While nothing has been chosen yet, each first setting stands for what will be.

    Args:
        grid: what is trained.
        priors: a folder for priors with other parameters.
        only: names of variants, all where empty.
        seeds: how many of the seeds; None for all.
        processes: ranks of each job.
        standing: how far a job is.
        refuse: raises what a run would raise about jobs that began differently.

    Raises:
        PriorError: a variant makes no sound training file, or a prior is wrong.
    """
    plan = grid.plan
    lines = []
    settings = dict(first_settings(grid))
    search = search_cells(grid, priors)
    searched = jobs_of(search, plan.shared, processes)
    done = {job.folder: standing(job).done for job in searched if job.cell is not None}
    if searched and plan.search is not None:
        searching = jobs_of(selected(search, only, None), plan.shared, processes)
        refuse(searching)
        lines += [f"to choose settings by {plan.search.metric.name}:", *_jobs(searching, standing), ""]
        found = choices(plan, search, done)
        settings |= {name: choice.value for name, choice in found.items() if choice.best is not None}
    cells = selected(reported_cells(grid, settings, priors), only, seeds)
    jobs = jobs_of(cells, plan.shared, processes)
    open_settings = set(first_settings(grid)) if not all(done.values()) else set()
    refuse([job for job in jobs if job.cell is None or job.cell.variant not in open_settings])
    lines += _jobs(jobs, standing)
    lines += [f"the same: {', '.join(names)} train exactly the same" for names in same_cells(jobs)]
    return "\n".join([*lines, "", *_variants(jobs), f"output: {plan.output_dir}"])


def first_settings(grid: LoadedGrid) -> Mapping[str, Any]:
    """The first setting of each variant that has a search."""
    return {name: variant.search[1][0] for name, variant in grid.plan.variants.items() if variant.search}


def _jobs(jobs: Sequence[Job], standing: Callable[[Job], Standing]) -> list[str]:
    cells = [job for job in jobs if job.cell is not None]
    shared = [job for job in jobs if job.cell is None]
    stands = {id(job): standing(job) for job in jobs}
    done = sum(stands[id(job)].done for job in cells)
    trained = sum(stand.left for stand in stands.values())
    alone = sum(len(job.plan.stages) for job in cells if not stands[id(job)].done)
    variants, seeds = (
        {job.cell.variant for job in cells if job.cell},
        {job.cell.seed for job in cells if job.cell},
    )
    lines = [
        f"{counted(len(cells), 'cell')} ({counted(len(variants), 'variant')}, {counted(len(seeds), 'seed')}), {done} done; "
        f"{counted(trained, 'stage')} to train, {alone} if no cell shared any"
    ]
    for job in shared:
        if stands[id(job)].done:
            continue
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
