"""`priorlang report FOLDER`"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from priorlang.cli.exits import USAGE
from priorlang.cli.options import always_quiet_option


@click.command("report")
@click.argument("folder")
@click.option(
    "-o", "--output", metavar="OUT.html", help="Where to write; report.html in the folder by default."
)
@click.option("--figures", metavar="DIR", help="Also write every figure there, as an SVG file of its own.")
@always_quiet_option
def command(folder: str, output: str | None, figures: str | None) -> None:
    """Write the report of a run or of a grid, finished or not: one HTML page, and print its path."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        click.echo("error: a report needs matplotlib: pip install 'priorlang[train]'", err=True)
        sys.exit(USAGE)
    from dpsl.errors import DpslError
    from dpsl.report import write_figures, write_report

    try:
        page = write_report(Path(folder), Path(output) if output is not None else None)
        click.echo(page)
        if figures is not None:
            count = len(write_figures(page, Path(figures)))
            told = "wrote 1 figure" if count == 1 else f"wrote {count} figures" if count else "no figures yet"
            click.echo(f"{told}: {figures}", err=True)
    except DpslError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(USAGE)
