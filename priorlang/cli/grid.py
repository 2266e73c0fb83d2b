"""`priorlang grid FILE`"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from priorlang.cli.exits import FINDINGS, USAGE
from priorlang.cli.options import format_option, quiet_option
from priorlang.cli.output import fail, remark, say, write_json
from priorlang.diagnostics.finding import PriorError

if TYPE_CHECKING:
    from priorlang.grid.load import LoadedGrid


@click.command("grid")
@click.argument("file")
@click.option("--dry-run", is_flag=True, help="Check everything and print the plan; train nothing.")
@click.option("--only", multiple=True, metavar="VARIANT", help="Train this variant alone; may be repeated.")
@click.option("--seeds", type=click.IntRange(min=1), metavar="N", help="Train the first N seeds alone.")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, metavar="N", show_default=True, help="Cells at a time."
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    show_default=True,
    help="Processes of each cell, under torchrun.",
)
@format_option
@quiet_option
def command(
    file: str,
    dry_run: bool,
    only: tuple[str, ...],
    seeds: int | None,
    jobs: int,
    processes: int,
    output_format: str,
    quiet: bool,
) -> None:
    """Train methods × priors × seeds over a training file, and compare them.

    The same command again goes on where it was stopped, and tries again what failed.
    """
    from priorlang.grid.load import read_grid

    try:
        grid = read_grid(file)
        _refuse_unknown(grid, only)
        if dry_run:
            _print_plan(grid, only, seeds, processes)
            return
        failed = _run(grid, Path(file), only, seeds, jobs, processes, output_format, quiet=quiet)
    except PriorError as error:
        fail(error)
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from here", err=True)
        sys.exit(USAGE)
    sys.exit(FINDINGS if failed else 0)


def _refuse_unknown(grid: LoadedGrid, only: Sequence[str]) -> None:
    from priorlang.diagnostics.suggest import closest, listing

    for name in only:
        if name not in grid.plan.variants:
            guess = closest(name, grid.plan.variants)
            hint = f"did you mean `{guess}`?" if guess else f"there are {listing(grid.plan.variants)}"
            raise click.UsageError(f"--only {name}: no variant is called so; {hint}")


def _print_plan(grid: LoadedGrid, only: Sequence[str], seeds: int | None, processes: int) -> None:
    from priorlang.grid.forecast import forecast

    if not grid.plan.output_dir.is_dir():
        with tempfile.TemporaryDirectory() as priors:
            say(forecast(grid, Path(priors), only, seeds, processes))
        return
    from priorlang.cli.engine import require_engine

    require_engine()
    from dpsl.errors import DpslError
    from dpsl.grid.run import planned

    try:
        with tempfile.TemporaryDirectory() as priors:
            say(planned(grid, Path(priors), only, seeds, processes))
    except DpslError as error:
        say(f"error: {error}", err=True)
        sys.exit(USAGE)


def _run(
    grid: LoadedGrid,
    file: Path,
    only: Sequence[str],
    seeds: int | None,
    jobs: int,
    processes: int,
    output_format: str,
    *,
    quiet: bool,
) -> bool:
    """Train what is missing; whether anything failed."""
    from priorlang.cli.engine import require_engine

    require_engine()
    from dpsl.errors import DpslError
    from dpsl.grid.run import GridRun, opened
    from dpsl.report import write_report

    try:
        with opened(grid.plan.output_dir, file):
            run = GridRun(grid, only, seeds, jobs, processes, lambda text: remark(text, quiet=quiet))
            run.search()
            run.report()
            page = write_report(grid.plan.output_dir)
    except DpslError as error:
        say(f"error: {error}", err=True)
        sys.exit(USAGE)
    if output_format == "json":
        write_json(run.document.to_json())
    else:
        say(run.table)
        say(f"table: {grid.plan.output_dir / 'table.md'}")
        say(f"report: {page}")
    return run.failed
