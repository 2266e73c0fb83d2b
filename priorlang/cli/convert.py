"""`priorlang convert FILE -o OUT`"""

from __future__ import annotations

from pathlib import Path

import click

from priorlang.cli.options import quiet_option
from priorlang.cli.output import fail, remark
from priorlang.diagnostics.finding import PriorError


@click.command("convert")
@click.argument("file")
@click.option("-o", "--output", required=True, metavar="OUT", help="Ends in .prior or .yaml.")
@quiet_option
def command(file: str, output: str, quiet: bool) -> None:
    """Write a prior file in the other form, by the ending of OUT; nothing is lost, comments included."""
    from priorlang.files import write_whole
    from priorlang.syntax.reformat import rewritten
    from priorlang.syntax.source import read_source

    if not output.endswith((".prior", ".yaml", ".yml")):
        raise click.UsageError(f"OUT ends in .prior or .yaml, and {output} does not")
    try:
        write_whole(Path(output), rewritten(read_source(file), output).encode())
    except PriorError as error:
        fail(error)
    remark(f"{output}: written from {file}", quiet=quiet)
