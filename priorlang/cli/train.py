"""`priorlang train FILE`"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import click

from priorlang.cli.engine import require_engine
from priorlang.cli.exits import FINDINGS, USAGE
from priorlang.cli.options import quiet_option
from priorlang.cli.output import fail, remark
from priorlang.diagnostics.finding import PriorError

if TYPE_CHECKING:
    from dpsl.train.preflight import Preflight
    from dpsl.train.stage_data import DataRoom
    from priorlang.training.load import LoadedPlan
    from priorlang.training.plan import TrainingPlan
    from priorlang.training.priors import Tables


@click.command("train")
@click.argument("file", required=False)
@click.option(
    "--processes", type=click.IntRange(min=1), metavar="N", help="Processes on this machine, under torchrun."
)
@click.option(
    "--resume",
    metavar="RUN",
    help="Continue the run in this folder; with FILE, begin it where there is none.",
)
@click.option(
    "--dry-run", is_flag=True, help="Check everything, print the resolved file and the plan; train nothing."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Give a place of the training file another value, as stages.finetune.max_steps=3; may be repeated.",
)
@quiet_option
def command(
    file: str | None,
    processes: int | None,
    resume: str | None,
    dry_run: bool,
    settings: tuple[str, ...],
    quiet: bool,
) -> None:
    """Train as a training file says."""
    if file is None and resume is None:
        raise click.UsageError("name a training file, or the run to continue with --resume RUN")
    if dry_run and resume is not None:
        raise click.UsageError("--dry-run looks at a run that has not begun: leave out --resume")
    require_engine()
    from dpsl.errors import DpslError
    from dpsl.train.processes import distributed_by_launcher, world_size

    if distributed_by_launcher():
        processes = world_size()
    data: DataRoom | None = None
    folder: Path | None = None
    try:
        if file is None:
            assert resume is not None
            folder = _resumed(Path(resume), settings)
        else:
            plan, tables, resolved = _read(file, settings, allow_absent=dry_run)
            if dry_run:
                _refuse_output(plan.output_dir)
                _show_forecast(plan, tables, processes or 1, resolved, quiet=quiet)
                return
            folder = plan.output_dir if resume is None else Path(resume).resolve()
            given = _Given(file, plan, tables, resolved, resume=resume is not None)
            data = _begun(given, folder, processes or 1, quiet=quiet)
        _train(folder, processes or _recorded_processes(folder), data, quiet=quiet)
    except PriorError as error:
        if os.environ.get("RANK", "0") != "0":
            sys.exit(FINDINGS)
        fail(error)
    except DpslError as error:
        _fail_engine(error)
    except KeyboardInterrupt:
        _tell_interrupted(folder)


def _read(
    file: str, settings: tuple[str, ...], *, allow_absent: bool = False
) -> tuple[TrainingPlan, Tables, str]:
    """The plan, its compiled priors, and its resolved text."""
    from priorlang.training import read_plan, render_plan
    from priorlang.training.priors import compiled_priors

    loaded = read_plan(file, settings, allow_absent=allow_absent)
    plan = loaded.plan
    _require_harnesses(plan)
    _require_trackers(loaded)
    return plan, compiled_priors(plan, loaded.span), render_plan(plan)


def _require_harnesses(plan: TrainingPlan) -> None:
    """Refuse benchmarks that are not installed, before anything is trained for them."""
    if any(stage.evaluate for stage in plan.stages):
        from dpsl.evaluate import require

        for stage in plan.stages:
            for asked in stage.evaluate:
                require(asked)


def _require_trackers(loaded: LoadedPlan) -> None:
    """Refuse trackers that are not installed, where the file asks for them."""
    if not any(stage.report_to for stage in loaded.plan.stages):
        return
    from dpsl.train.trackers import tracker_problem
    from priorlang.diagnostics.finding import Finding, Severity

    found = []
    for index, stage in enumerate(loaded.plan.stages):
        for position, name in enumerate(stage.report_to):
            if problem := tracker_problem(name):
                span = loaded.span(index, "report_to", position)
                found.append(Finding("invalid-value", Severity.ERROR, "; ".join(problem), span))
    if found:
        raise PriorError(dict.fromkeys(found))


def _refuse_output(folder: Path) -> None:
    """Refuse what a real run would refuse."""
    from dpsl.train.run_folder import refuse_folder

    refuse_folder(folder)


def _show_forecast(plan: TrainingPlan, tables: Tables, processes: int, resolved: str, *, quiet: bool) -> None:
    """Print the resolved file, what its stages will do and take, and what is missing for that."""
    from dpsl.train.forecast import describe

    found = _checked(plan, tables, processes, quiet=quiet, allow_absent=True)
    click.echo(resolved)
    click.echo("\n".join(describe(found.stages, processes)))
    if found.absent:
        click.echo("\nNot on this machine, and needed to train:")
        click.echo("\n".join(f"  {line}" for line in found.absent))


def _checked(
    plan: TrainingPlan, tables: Tables, processes: int, *, quiet: bool, allow_absent: bool = False
) -> Preflight:
    """Check everything that can be known before the first step."""
    from dpsl.train.console import Console
    from dpsl.train.preflight import preflight
    from dpsl.train.processes import prepare_process

    prepare_process()
    with tempfile.TemporaryDirectory() as scratch:
        tell = Console(quiet=quiet).reading
        return preflight(plan, tables, processes, Path(scratch), allow_absent=allow_absent, tell=tell)


class _Given(NamedTuple):
    """A training file, read, and whether it may go on with a run that it has begun."""

    file: str
    plan: TrainingPlan
    tables: Tables
    resolved: str
    resume: bool


def _begun(given: _Given, folder: Path, processes: int, *, quiet: bool) -> DataRoom | None:
    """Begin a run, or see that it can go on: on rank 0, while other ranks wait for it.

    Returns:
        The data that was read to check it.
    """
    from dpsl.train.prepare import prepare_run, refuse_folder
    from dpsl.train.processes import launched_together

    def begin() -> DataRoom | None:
        if given.resume and _goes_on(given, folder):
            return None
        refuse_folder(folder)
        data = _checked(given.plan, given.tables, processes, quiet=quiet).room
        run = prepare_run(given.plan, given.resolved, given.tables, processes)
        if data is not None:
            data.keep_in(run.tokens)
        return data

    return launched_together(begin)


def _goes_on(given: _Given, folder: Path) -> bool:
    """Whether there is a run to go on with, which must be what the training file says; else one may begin there."""
    from dpsl.train.run_folder import RunFolderError, open_run_folder
    from priorlang.training.differences import differences
    from priorlang.training.plan import TrainingPlan

    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        if folder != given.plan.output_dir.resolve():
            reason = f"no run to resume here, and {given.file} begins one in {given.plan.output_dir}"
            raise RunFolderError(str(folder), reason, "name one and the same folder")
        return False
    run = open_run_folder(folder)
    known = TrainingPlan.model_validate_json(run.plan.read_text(encoding="utf-8"))
    changed = differences(known, given.plan)
    if changed:
        raise RunFolderError(
            str(folder),
            f"the run began with other settings than {given.file}: {', '.join(changed)}",
            "undo the change, or begin a new run with another output_dir",
        )
    return True


def _resumed(run: Path, settings: tuple[str, ...]) -> Path:
    """The run to continue, as it says itself."""
    from dpsl.train.run_folder import open_run_folder

    if settings:
        raise click.UsageError("--set would change a run that has begun: leave it out with --resume")
    return open_run_folder(run.resolve()).path


def _recorded_processes(run: Path) -> int:
    import json

    from dpsl.train.run_folder import RunFolder

    place = RunFolder(run).environment
    return int(json.loads(place.read_text(encoding="utf-8")).get("processes", 1)) if place.is_file() else 1


def _train(run: Path, processes: int, data: DataRoom | None, *, quiet: bool) -> None:
    from dpsl.train.launch import launch
    from dpsl.train.processes import rank

    launch(run, processes, quiet=quiet, data=data)
    if rank() == 0:
        from dpsl.evaluate.run import evaluate_pending

        evaluate_pending(run, quiet=quiet)
        from dpsl.report import findings_of_run, write_report

        page = write_report(run)
        for sentence in findings_of_run(run):
            remark(f"- {sentence}", quiet=quiet)
        click.echo(f"run: {run}")
        click.echo(f"report: {page}")


def _fail_engine(error: Exception) -> NoReturn:
    from dpsl.train.faults import LostProcessError, MachineError
    from dpsl.train.launch import LaunchError
    from dpsl.train.run_folder import RunFolderError

    if not isinstance(error, LostProcessError):
        click.echo(f"error: {error}", err=True)
    # What a failed run holds, engine and model, is let go while there is still an interpreter.
    traceback.clear_frames(error.__traceback__)
    outer = LaunchError | RunFolderError | MachineError | LostProcessError
    sys.exit(USAGE if isinstance(error, outer) else FINDINGS)


def _tell_interrupted(folder: Path | None) -> NoReturn:
    from dpsl.train.faults import interruption
    from dpsl.train.processes import rank

    if rank() == 0:
        click.echo(f"\n{interruption(folder)}", err=True)
    sys.stderr.flush()
    # At once: an engine that is taken apart half-way through a step complains at length.
    os._exit(USAGE)
