"""One rank of a run: the stages in order, from where the run folder says it stands.

    python -m dpsl.train.worker RUN_FOLDER [--quiet]

Every stage begins from the saved model of the stage before, so a resumed run takes the same path as an
uninterrupted one.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dpsl.errors import DpslError
from dpsl.train.faults import LostProcessError, MachineError, told_faults
from dpsl.train.interrupt import keep_interrupts
from dpsl.train.processes import (
    barrier,
    end_with_parent,
    first_on_main,
    launched_together,
    prepare_process,
    rank,
    world_size,
)
from dpsl.train.run_folder import RunFolder, RunFolderError, open_run_folder, replacing, write_json
from priorlang.table.prior_table import PriorTable
from priorlang.training.lineage import origin_of
from priorlang.training.plan import StagePlan, TrainingPlan

if TYPE_CHECKING:
    from dpsl.train.stage_data import DataRoom

FINDINGS, USAGE, LOST = 1, 2, 75
"""Exit codes: the user's mistake, the machine's fault, and another process's end, of which that process speaks."""


def train_run(path: Path, *, quiet: bool = False, data: DataRoom | None = None) -> None:
    """Train a run to its end. The process is one rank of it.

    Args:
        path: the run folder.
        quiet: no progress.
        data: what a preflight in this process has read already.

    Raises:
        DpslError: anything the user can mend.
    """
    prepare_process()
    keep_interrupts()
    from dpsl.train.console import Console
    from dpsl.train.models import load_processor, starting_model
    from dpsl.train.stage import StageInput, run_stage
    from dpsl.train.stage_data import DataRoom

    run = open_run_folder(path)
    check_processes(run)
    plan = TrainingPlan.model_validate_json(run.plan.read_text(encoding="utf-8"))
    console = Console(quiet=quiet)
    with told_faults(run), ExitStack() as held:
        if rank() == 0:
            held.enter_context(run.locked())
            _clean_up(run, plan)
        _join()
        data = data or DataRoom(load_processor(plan), kept=run.tokens, tell=console.reading)
        waiting = [index for index, stage in enumerate(plan.stages) if not run.stage(stage.name).done]
        read_ahead(
            run, [s for i, s in enumerate(plan.stages) if waiting and (i in waiting or _counted(s))], data
        )
        held.enter_context(_left_to_itself())
        shaped = shaped_steps(run, plan, data) if waiting else []
        for index in waiting:
            stage = plan.stages[index]
            console.line(f"── {stage.name} ({index + 1} of {len(plan.stages)})")
            origin = origin_of(plan, index)
            before = run.stage(origin.name).model if origin is not None else None
            given = StageInput(
                run,
                stage,
                data,
                table_of(run, stage),
                shaped_before=sum(shaped[:index]),
                shaped_total=sum(shaped),
            )
            run_stage(given, starting_model(plan, stage, before), console)
            gc.collect()
        first_on_main(lambda: _complete(run, plan))


def read_ahead(run: RunFolder, stages: Sequence[StagePlan], data: DataRoom) -> None:
    """Read all data before there is a model: on rank 0 first, which keeps what is large for the others to map.

    Raises:
        DpslError: the data cannot be used. Ranks other than 0 leave without a word.
    """

    def read() -> None:
        for stage in stages:
            data.load(stage, table_of(run, stage) if stage.moe else None)

    launched_together(read)
    read()


@contextmanager
def _left_to_itself() -> Iterator[None]:
    """Collections, of which every stage makes several, skip what is there already.

    Until the end, when extension modules complain about whatever nobody collects.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def shaped_steps(run: RunFolder, plan: TrainingPlan, data: DataRoom) -> list[int]:
    """Shaped optimizer steps of each stage: those that a prior's schedule counts."""
    from dpsl.train.arguments import planned_steps

    counts = []
    for stage in plan.stages:
        samples = len(data.load(stage, table_of(run, stage)).train) if _counted(stage) else 0
        counts.append(planned_steps(stage, samples, world_size()) if stage.shape else 0)
    return counts


def _counted(stage: StagePlan) -> bool:
    """Whether a prior's schedule counts the stage's steps, and its data says how many."""
    return stage.shape and stage.max_steps < 0


def table_of(run: RunFolder, stage: StagePlan) -> PriorTable | None:
    """The compiled prior of a stage: its own, or the run's."""
    if stage.prior is None:
        return None
    own = run.stage(stage.name).prior_table
    return PriorTable.load(own if own.is_file() else run.prior_table)


def _clean_up(run: RunFolder, plan: TrainingPlan) -> None:
    """Drop what a kill left half-done, and what will be done again."""
    from dpsl.train.data.kept import drop_unfinished

    names = [stage.name for stage in plan.stages]
    drop_unfinished(run.tokens)
    for name in names:
        run.stage(name).drop_unfinished()
    current = next((name for name in names if not run.stage(name).done), None)
    if current is not None:
        checkpoints = run.stage(current).checkpoints()
        if checkpoints:
            _check_prior(run, next(stage for stage in plan.stages if stage.name == current), checkpoints[-1])
        run.rewind_metrics(names, current, checkpoints[-1] if checkpoints else 0)


def _check_prior(run: RunFolder, stage: StagePlan, step: int) -> None:
    """Refuse to go on under another prior than a checkpoint's.

    Raises:
        RunFolderError: the run's prior is not the one that the checkpoint was written under.
    """
    table, folder = table_of(run, stage), run.stage(stage.name)
    known = folder.written_under(step).get("prior")
    if known is not None and table is not None and table.header.normal_form != known:
        raise RunFolderError(
            str(folder.checkpoint(step)),
            "it was written under another prior than the run's prior.safetensors holds now",
            "put the file back as it was, or begin a new run with the new prior",
        )


def check_processes(run: RunFolder) -> None:
    """Refuse to go on with another number of processes than the run began with; note it where it begins.

    Raises:
        RunFolderError: the numbers differ. Ranks other than 0 leave without a word.
    """
    environment = json.loads(run.environment.read_text(encoding="utf-8")) if run.environment.is_file() else {}
    known = environment.get("processes", world_size())
    if known != world_size():
        if rank() != 0:
            sys.exit(USAGE)
        raise RunFolderError(
            str(run.path),
            f"the run began with {known} process(es) and DeepSpeed's checkpoints only fit as many, not {world_size()}",
            f"resume with `--processes {known}`",
        )
    if rank() == 0 and "processes" not in environment:
        write_json(run.environment, {**environment, "processes": known})


def _join() -> None:
    """Make this process one of the ranks, so that they can wait for each other."""
    import deepspeed

    deepspeed.init_distributed(verbose=False)
    barrier()


def _complete(run: RunFolder, plan: TrainingPlan) -> None:
    """Keep the last stage's model as the run's, and let go of what only training needs."""
    if not run.model.is_dir():
        with replacing(run.model) as beside:
            shutil.copytree(run.stage(plan.stages[-1].name).model, beside, copy_function=_link_or_copy)
    shutil.rmtree(run.tokens, ignore_errors=True)


def _link_or_copy(source: str, target: str) -> None:
    """The final model is the last stage's: one copy on disk where the file system allows."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def main() -> None:
    """The command line of a rank that torchrun starts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--quiet", action="store_true")
    arguments = parser.parse_args()
    end_with_parent()
    # The launcher is interrupted too, and speaks for all.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        train_run(arguments.run, quiet=arguments.quiet)
    except LostProcessError:
        os._exit(LOST)
    except DpslError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201  (the only voice of a rank)
        os._exit(USAGE if isinstance(error, RunFolderError | MachineError) else FINDINGS)


if __name__ == "__main__":
    main()
