"""`priorlang fit RUN -o OUT`"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from priorlang.cli.exits import USAGE
from priorlang.cli.options import format_option, quiet_option
from priorlang.cli.output import print_findings, remark, write_json
from priorlang.diagnostics.finding import PriorError
from priorlang.diagnostics.human import counted

if TYPE_CHECKING:
    from priorlang.fit.fit import FittedPrior
    from priorlang.routing.run import RunRouting


@click.command("fit")
@click.argument("run")
@click.option("-o", "--output", required=True, metavar="OUT", help="Ends in .prior or .yaml.")
@click.option(
    "--tolerance",
    type=float,
    metavar="NATS",
    help="KL that a cell may lie off its best fit; 0.05 by default.",
)
@format_option
@quiet_option
def command(run: str, output: str, tolerance: float | None, output_format: str, quiet: bool) -> None:
    """Write the prior that the routing of a run, or of one of its stages, has become."""
    from priorlang.files import write_whole
    from priorlang.fit.fit import fit_prior
    from priorlang.routing.run import read_run_routing

    if not output.endswith((".prior", ".yaml", ".yml")):
        raise click.UsageError(f"OUT ends in .prior or .yaml, and {output} does not")
    if tolerance is not None and not (math.isfinite(tolerance) and tolerance > 0):
        raise click.UsageError(f"a tolerance is above 0 and finite, and {tolerance:g} is not")
    try:
        routing = read_run_routing(run)
        fitted = fit_prior(routing, output, tolerance)
        write_whole(Path(output), fitted.text.encode())
    except PriorError as error:
        print_findings(error.findings)
        sys.exit(USAGE)
    if output_format == "json":
        write_json(_document(output, routing, fitted))
    for line in _remarks(output, routing, fitted):
        remark(line, quiet=quiet)


def _remarks(output: str, routing: RunRouting, fitted: FittedPrior) -> list[str]:
    stage = f", stage {routing.stage}" if routing.stage else ""
    size = f"{counted(fitted.rules, 'rule')}, {counted(len(fitted.table.alpha), 'prior')}"
    lines = [
        f"{output}: {size}, from {routing.place}{stage}; KL at most "
        f"{fitted.kl.max():.4f} (tolerance {fitted.tolerance:g})"
    ]
    if fitted.units.pooled:
        lines.append(
            "the run has too many token classes to be fitted apart: those that share a prior in it still do"
        )
    if fitted.unseen:
        lines.append(
            f"{counted(fitted.unseen, 'cell')} had too few tokens to fit; they follow their likes, or the base"
        )
    return lines


def _document(output: str, routing: RunRouting, fitted: FittedPrior) -> dict[str, Any]:
    return {
        "version": 1,
        "file": output,
        "run": routing.place,
        "stage": routing.stage,
        "tolerance": fitted.tolerance,
        "rules": fitted.rules,
        "kl": {"max": float(fitted.kl.max()), "mean": float((fitted.kl * fitted.weight).sum())},
        "cells": {"total": int(fitted.units.of_cell.size), "unseen": fitted.unseen},
        "pooled": fitted.units.pooled,
        "priors": fitted.table.alpha.tolist(),
        "units": [
            {
                "cells": [
                    {
                        "layer": int(routing.table.layer[position]),
                        **routing.table.class_members(int(token_class)),
                    }
                    for position, token_class in zip(*(fitted.units.of_cell == unit).nonzero(), strict=True)
                ],
                "tokens": int(fitted.units.tokens[unit]),
                "fitted": fitted.units.fitted[unit].tolist(),
                "kl": float(fitted.kl[unit]),
            }
            for unit in range(len(fitted.kl))
        ],
    }
