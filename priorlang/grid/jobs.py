"""What has to be trained for some cells: stages that several of them share once, and then each cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from priorlang.grid.cells import Cell
from priorlang.grid.keys import stage_keys
from priorlang.training.plan import TrainingPlan
from priorlang.training.priors import compiled_priors


@dataclass(frozen=True)
class Job:
    """One run folder to bring to its end, by a process of its own.

    Attributes:
        name: what progress calls it.
        plan: what it trains; finished stages of other runs with the same keys are taken over first.
        keys: the content address of each stage.
        cells: how many cells need it.
        after: the job whose stages this one goes on from.
        cell: the cell; None for stages that several share.
    """

    name: str
    plan: TrainingPlan
    keys: tuple[str, ...]
    cells: int
    after: Job | None = None
    cell: Cell | None = None

    @property
    def folder(self) -> Path:
        """Its run folder."""
        return self.plan.output_dir

    @property
    def own_stages(self) -> tuple[str, ...]:
        """The stages that it trains itself."""
        taken = len(self.after.plan.stages) if self.after else 0
        return tuple(stage.name for stage in self.plan.stages[taken:])


def jobs_of(cells: Sequence[Cell], shared: Path, processes: int = 1) -> list[Job]:
    """The jobs for some cells, each after the one it goes on from.

    Args:
        cells: what is to be trained.
        shared: the folder of shared stages.
        processes: ranks of each run.

    Raises:
        PriorError: a prior is wrong.
    """
    keys = [stage_keys(cell.plan, compiled_priors(cell.plan), processes) for cell in cells]
    shared_by = Counter(key for chain in keys for key in chain)
    jobs: dict[str, Job] = {}
    found: list[Job] = []
    for cell, chain in zip(cells, keys, strict=True):
        before: Job | None = None
        taken = 0
        for count, group in groupby(chain, key=lambda key: shared_by[key]):
            taken += len(list(group))
            if count == 1:
                break
            last = chain[taken - 1]
            if last not in jobs:
                jobs[last] = _shared(cell, chain[:taken], count, before, shared)
                found.append(jobs[last])
            before = jobs[last]
        found.append(Job(cell.name, cell.plan, chain, 1, before, cell))
    return found


def same_cells(jobs: Sequence[Job]) -> list[tuple[str, ...]]:
    """Names of cells that train exactly the same: their variants do not differ in what is trained."""
    by_key: dict[str, list[str]] = {}
    for job in jobs:
        if job.cell is not None:
            by_key.setdefault(job.keys[-1], []).append(job.name)
    return [tuple(names) for names in by_key.values() if len(names) > 1]


def _shared(cell: Cell, keys: tuple[str, ...], cells: int, before: Job | None, shared: Path) -> Job:
    stages = cell.plan.stages[: len(keys)]
    folder = shared / f"{stages[-1].name}-{keys[-1][:12]}"
    plan = cell.plan.model_copy(update={"stages": stages, "output_dir": folder})
    own = [stage.name for stage in stages[len(before.plan.stages) if before else 0 :]]
    return Job(f"shared by {cells}: {', '.join(own)}", plan, keys, cells, before)
