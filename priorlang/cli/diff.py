"""`priorlang diff A B`"""

from __future__ import annotations

import sys

import click

from priorlang.cli.exits import CLEAN, FINDINGS
from priorlang.cli.options import format_option, set_option
from priorlang.cli.output import fail, write_json
from priorlang.diagnostics.finding import PriorError


@click.command("diff")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@format_option
@set_option
def command(before: str, after: str, output_format: str, settings: tuple[str, ...]) -> None:
    """Compare what two priors ask for; each is a prior file, a table or a run folder.

    Exits with 0 where they ask for the same, with 1 where they differ. Of two runs the results are shown
    as well, and do not count. --set applies to both.
    """
    from priorlang.compare.difference import compare
    from priorlang.compare.load import load_subject
    from priorlang.compare.render import difference_json, difference_text
    from priorlang.compare.runs import compare_runs
    from priorlang.settings import parse_settings

    try:
        values = parse_settings(settings)
        old, new = load_subject(before, values), load_subject(after, values)
        runs = compare_runs(old.run, new.run) if old.run is not None and new.run is not None else None
    except PriorError as error:
        fail(error)
    difference = compare(old.side, new.side)
    if output_format == "json":
        write_json(difference_json(difference, runs))
    else:
        click.echo(difference_text(difference, runs))
    sys.exit(CLEAN if difference.identical else FINDINGS)
