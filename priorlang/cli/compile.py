"""`priorlang compile FILE -o TABLE`"""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from priorlang.cli.options import given_by, model_option, quiet_option, set_option
from priorlang.cli.output import fail, remark
from priorlang.diagnostics.finding import PriorError
from priorlang.diagnostics.human import counted


@click.command("compile")
@click.argument("file")
@click.option(
    "-o", "--output", "output", required=True, metavar="TABLE", help="Where to write; ends in .safetensors."
)
@set_option
@model_option
@quiet_option
def command(file: str, output: str, settings: tuple[str, ...], model_config: str | None, quiet: bool) -> None:
    """Compile a prior file to the table that the engine reads.

    Expectations are tests: one that fails is remarked upon, and the table is written. `validate` fails.
    """
    from priorlang.phases import Prior
    from priorlang.settings import parse_settings

    if not output.endswith(".safetensors"):
        raise click.UsageError(f"a table is written to a .safetensors file, and {output} is none")
    try:
        prior = Prior.read(file, parse_settings(settings), given_by(model_config))
        prior.table.save(output)
    except PriorError as error:
        fail(error)
    failed = sum(finding.name == "expectation-failed" for finding in prior.findings)
    if failed:
        claims = "expectation fails" if failed == 1 else "expectations fail"
        remark(f"{failed} {claims}; `priorlang validate {shlex.quote(file)}` shows where", quiet=quiet)
    size = Path(output).stat().st_size
    table = prior.table
    remark(
        f"{output}: {counted(len(table.alpha), 'prior')} over {counted(len(table.layer), 'layer')} × "
        f"{counted(table.class_count, 'token class', 'es')}, {counted(len(table.window), 'marginal')}, {size:,} bytes",
        quiet=quiet,
    )
