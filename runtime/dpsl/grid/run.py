"""A grid from wherever it stands to its table: first the search, where there is one, then the reported cells."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dpsl.errors import DpslError
from dpsl.grid.schedule import Outcome, is_done, refuse_changed, run_jobs, standing
from dpsl.train.run_folder import RunFolder, replacing, write_json, write_text
from priorlang.diagnostics.suggest import closest, listing
from priorlang.grid.cells import Cell, reported_cells, search_cells, selected
from priorlang.grid.document import Document, Status, document_of
from priorlang.grid.forecast import forecast
from priorlang.grid.jobs import Job, jobs_of, same_cells
from priorlang.grid.load import LoadedGrid
from priorlang.grid.plan import Metric
from priorlang.grid.results import keys_of
from priorlang.grid.search import Choice, choices
from priorlang.grid.table import render

GRID, RESULTS, TABLE, PRIORS = "grid.yaml", "results.json", "table.md", "priors"


@contextmanager
def opened(output: Path, file: Path) -> Iterator[None]:
    """Hold a grid's folder for one process, and keep the grid file in it.

    Raises:
        DpslError: it cannot be written, is in use, or holds something else.
    """
    if output.is_dir() and not (output / GRID).is_file() and any(output.iterdir()):
        raise DpslError(
            str(output), "this folder holds something else than a grid", "name a new `output_dir`"
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
        with RunFolder(output).locked():
            with replacing(output / GRID) as beside:
                shutil.copyfile(file, beside)
            yield
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error})"
        raise DpslError(str(error.filename or output), reason, "name another `output_dir`") from None


def planned(grid: LoadedGrid, priors: Path, only: Sequence[str], seeds: int | None, processes: int) -> str:
    """The forecast of a grid that may have begun: what is left of it; `priors` is a folder to write priors to.

    Raises:
        PriorError: a variant makes no sound training file, or a prior is wrong.
        DpslError: a cell began with something else.
    """
    output, shared = grid.plan.output_dir, grid.plan.shared

    def of_run(job: Job) -> Job:
        prior = job.plan.prior
        if prior is None or prior.parent != priors:
            return job
        return replace(job, plan=job.plan.model_copy(update={"prior": output / PRIORS / prior.name}))

    return forecast(
        grid,
        priors,
        only,
        seeds,
        processes,
        lambda job: standing(job, output, shared),
        lambda jobs: refuse_changed([of_run(job) for job in jobs]),
    )


class GridRun:
    """One call of `priorlang grid`.

    Args:
        grid: what is trained.
        only: names of variants, all where empty.
        seeds: how many of the seeds; None for all.
        slots: jobs at a time.
        processes: ranks of each.
        tell: takes a line of progress.
    """

    def __init__(
        self,
        grid: LoadedGrid,
        only: Sequence[str],
        seeds: int | None,
        slots: int,
        processes: int,
        tell: Callable[[str], None],
    ) -> None:
        self.grid, self.only, self.seeds = grid, only, seeds
        self.slots, self.processes, self.tell = slots, processes, tell
        self.output, self.shared = grid.plan.output_dir, grid.plan.shared
        self.failed = False
        self.document: Document
        self._errors: dict[Path, str] = {}
        self._chosen: dict[str, Choice] = {}

    @property
    def table(self) -> str:
        """The table as it is written."""
        return render(self.document)

    def search(self) -> None:
        """Train what settings are chosen from, and choose."""
        cells = search_cells(self.grid, self.output / PRIORS)
        if not cells:
            return
        self._train(selected(cells, self.only, None))
        done = {job.folder: is_done(job, self.output, self.shared) for job in self._jobs(cells)}
        self._chosen = choices(self.grid.plan, cells, done)
        for name, choice in self._chosen.items():
            if choice.best is not None:
                self.tell(f"{name}: {choice.path} = {choice.value}")

    def report(self) -> None:
        """Train the cells of the table, and write it after each."""
        chosen = {name: choice.value for name, choice in self._chosen.items() if choice.best is not None}
        cells = reported_cells(self.grid, chosen, self.output / PRIORS)
        jobs = self._jobs(cells)
        for names in same_cells(jobs):
            self.tell(f"the same: {', '.join(names)} train exactly the same")
        self._write(cells, jobs)
        self._train(selected(cells, self.only, self.seeds), lambda: self._write(cells, jobs))
        for metric in self.grid.plan.metrics if "metrics" in self.grid.plan.model_fields_set else ():
            self._tell_absent(metric, cells)

    def _tell_absent(self, metric: Metric, cells: Sequence[Cell]) -> None:
        """Say of a metric that was asked for that nothing has it."""
        done = [
            (row.folders[seed], row.values[metric.name].get(seed))
            for row in self.document.rows
            for seed, status in row.cells.items()
            if status.state == "done"
        ]
        if not done or any(value is not None for _, value in done):
            return
        stage = metric.stage or cells[0].plan.stages[-1].name
        keys = sorted(set().union(*(keys_of(folder, stage) for folder, _ in done)) - {"step"})
        near = closest(metric.metric, keys)
        fix = (
            f"did you mean `{near}`?"
            if near
            else f"there are {listing(keys)}"
            if keys
            else "it has no metrics"
        )
        self.tell(f"metric {metric.name}: no cell has it at the end of stage {stage}; {fix}")

    def _jobs(self, cells: Sequence[Cell]) -> list[Job]:
        return jobs_of(cells, self.shared, self.processes)

    def _train(self, cells: Sequence[Cell], after_each: Callable[[], None] = lambda: None) -> None:
        jobs = self._jobs(cells)
        refuse_changed(jobs)
        place = {id(job): f"[{number}/{len(jobs)}]" for number, job in enumerate(jobs, 1)}

        def on_end(outcome: Outcome) -> None:
            if outcome.error:
                self.failed = True
                self._errors[outcome.job.folder] = outcome.error
                self.tell(f"{place[id(outcome.job)]} {outcome.job.name}: failed: {outcome.error}")
            elif outcome.seconds is not None:
                self.tell(f"{place[id(outcome.job)]} {outcome.job.name}: done in {outcome.seconds:.0f} s")
            if outcome.job.cell is not None and (outcome.error or outcome.seconds is not None):
                after_each()

        run_jobs(jobs, self.output, self.shared, slots=self.slots, processes=self.processes, on_end=on_end)

    def _write(self, cells: Sequence[Cell], jobs: Sequence[Job]) -> None:
        status = {job.folder: self._status(job) for job in jobs if job.cell is not None}
        self.document = document_of(self.grid.plan, cells, status, _once(jobs), self._chosen)
        write_json(self.output / RESULTS, self.document.to_json())
        write_text(self.output / TABLE, self.table)

    def _status(self, job: Job) -> Status:
        error = self._errors.get(job.folder)
        return (
            Status("failed", error)
            if error
            else Status("done" if is_done(job, self.output, self.shared) else "waiting")
        )


def _once(jobs: Sequence[Job]) -> list[str]:
    """The first stages that are the same for all seeds of every variant; none where there is one seed."""
    chains: dict[str, list[tuple[str, ...]]] = {}
    names: list[str] = []
    for job in jobs:
        if job.cell is not None:
            chains.setdefault(job.cell.variant, []).append(job.keys)
            names = names or [stage.name for stage in job.plan.stages]
    if not chains or len(next(iter(chains.values()))) < 2:
        return []
    shared = 0
    while shared < len(names) and all(
        len({chain[shared] for chain in found if shared < len(chain)}) == 1 for found in chains.values()
    ):
        shared += 1
    return names[:shared]
