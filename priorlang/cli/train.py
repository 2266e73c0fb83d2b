"""`priorlang train FILE`"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from priorlang.cli.exits import FINDINGS, USAGE
from priorlang.cli.options import quiet_option
from priorlang.cli.output import fail, remark
from priorlang.diagnostics.finding import PriorError

if TYPE_CHECKING:
    from dpsl.train.stage_data import DataRoom
    from priorlang.table.prior_table import PriorTable
    from priorlang.training.plan import TrainingPlan

Tables = dict[Path, "PriorTable"]


@click.command("train")
@click.argument("file", required=False)
@click.option(
    "--processes", type=click.IntRange(min=1), metavar="N", help="Processes on this machine, under torchrun."
)
@click.option("--resume", metavar="RUN", help="Continue the run in this folder.")
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
    _require_engine()
    from dpsl.errors import DpslError
    from dpsl.train.processes import distributed_by_launcher, world_size

    if distributed_by_launcher():
        processes = world_size()
    data: DataRoom | None = None
    try:
        if resume is not None:
            run = _resumed(Path(resume), file, settings)
            processes = processes or _recorded_processes(run)
        else:
            assert file is not None
            plan, tables, resolved = _read(file, settings)
            if dry_run:
                _refuse_output(plan.output_dir)
                _forecast(plan, tables, processes or 1, resolved=resolved)
                return
            run, data = _begun(plan, tables, resolved, processes or 1)
        _train(run, processes or 1, data, quiet=quiet)
    except PriorError as error:
        if os.environ.get("RANK", "0") != "0":
            sys.exit(FINDINGS)
        fail(error)
    except DpslError as error:
        _fail_engine(error)
    except KeyboardInterrupt:
        click.echo("interrupted; `--resume` continues from the last checkpoint", err=True)
        sys.exit(USAGE)


def _read(file: str, settings: tuple[str, ...]) -> tuple[TrainingPlan, Tables, str]:
    """The plan, its compiled priors, and its resolved text."""
    from priorlang.phases import Prior
    from priorlang.training import load_plan, render_plan
    from priorlang.training.model import model_of

    plan = load_plan(file, settings)
    tables: dict[Path, PriorTable] = {}
    for stage in plan.stages:
        if stage.prior is None or not stage.moe or stage.prior in tables:
            continue
        prior = Prior.read(stage.prior, model=model_of(plan, stage))
        tables[stage.prior] = prior.table
        if failed := [finding for finding in prior.findings if finding.name == "expectation-failed"]:
            raise PriorError(failed)
    for stage in plan.stages:
        if stage.prior is not None and stage.prior not in tables:
            tables[stage.prior] = Prior.read(stage.prior).table
    return plan, tables, render_plan(plan)


def _refuse_output(folder: Path) -> None:
    """Refuse what a real run would refuse."""
    from dpsl.train.run_folder import refuse_folder

    refuse_folder(folder)


def _forecast(plan: TrainingPlan, tables: Tables, processes: int, *, resolved: str | None) -> DataRoom:
    """Check everything that can be known before the first step; print it where `resolved` is given."""
    from dpsl.train.preflight import describe, preflight
    from dpsl.train.processes import prepare_process

    prepare_process()
    with tempfile.TemporaryDirectory() as scratch:
        forecasts, data = preflight(plan, tables, processes, Path(scratch))
    if resolved is not None:
        click.echo(resolved)
        click.echo("\n".join(describe(forecasts)))
    return data


def _begun(plan: TrainingPlan, tables: Tables, resolved: str, processes: int) -> tuple[Path, DataRoom | None]:
    """A new run folder, and the data that was read to check it: on rank 0, while other ranks wait for it."""
    from dpsl.train.prepare import prepare_run, refuse_folder
    from dpsl.train.processes import launched_together

    def begin() -> DataRoom:
        refuse_folder(plan.output_dir)
        data = _forecast(plan, tables, processes, resolved=None)
        prepare_run(plan, resolved, tables, processes)
        return data

    return plan.output_dir, launched_together(begin)


def _resumed(run: Path, file: str | None, settings: tuple[str, ...]) -> Path:
    """The run to continue; where a training file is given as well, it must still say the same."""
    from dpsl.train.run_folder import RunFolderError, open_run_folder
    from priorlang.training.plan import TrainingPlan

    folder = open_run_folder(run.resolve())
    if file is not None:
        known = TrainingPlan.model_validate_json(folder.plan.read_text(encoding="utf-8"))
        given = _read(file, settings)[0]
        changed = _differences(known, given)
        if changed:
            raise RunFolderError(
                str(run),
                f"the run began with other settings than {file}: {', '.join(changed)}",
                "undo the change, or begin a new run with another output_dir",
            )
    elif settings:
        raise click.UsageError("--set would change a run that has begun: leave it out with --resume")
    return folder.path


def _differences(known: TrainingPlan, given: TrainingPlan) -> list[str]:
    """What two plans differ in, apart from where they write."""
    changed = [
        key
        for key in type(known).model_fields
        if key not in ("output_dir", "stages") and getattr(known, key) != getattr(given, key)
    ]
    if [stage.name for stage in known.stages] != [stage.name for stage in given.stages]:
        return [*changed, "stages"]
    for before, after in zip(known.stages, given.stages, strict=True):
        changed += [
            f"stages.{before.name}.{key}"
            for key in type(before).model_fields
            if getattr(before, key) != getattr(after, key)
        ]
    return changed


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
        from dpsl.report import findings_of_run, write_report

        page = write_report(run)
        for sentence in findings_of_run(run):
            remark(f"- {sentence}", quiet=quiet)
        click.echo(f"run: {run}")
        click.echo(f"report: {page}")


def _require_engine() -> None:
    """Leave with the way to install it where the engine is not there."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "transformers", "deepspeed") if find_spec(name) is None]
    if missing:
        names = " and ".join([", ".join(missing[:-1])] * (len(missing) > 1) + missing[-1:])
        verb = "are" if len(missing) > 1 else "is"
        hint = "run `pip install 'priorlang[train]'`"
        click.echo(f"error: training needs {names}, which {verb} not installed; {hint}", err=True)
        sys.exit(USAGE)


def _fail_engine(error: Exception) -> NoReturn:
    from dpsl.train.launch import LaunchError
    from dpsl.train.run_folder import RunFolderError

    click.echo(f"error: {error}", err=True)
    sys.exit(USAGE if isinstance(error, LaunchError | RunFolderError) else FINDINGS)
