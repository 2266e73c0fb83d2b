"""`priorlang fmt FILE…`"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from priorlang.cli.exits import CLEAN, FINDINGS, USAGE
from priorlang.cli.options import priors_only_option, quiet_option
from priorlang.cli.output import exit_code, print_findings, remark
from priorlang.diagnostics.finding import PriorError


@click.command("fmt")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--check", is_flag=True, help="Write nothing; exit with 1 where a file is not in canonical layout."
)
@click.option(
    "--stdout",
    "printed",
    is_flag=True,
    help="Write no file: print the canonical text, as `git` wants of a textconv.",
)
@priors_only_option
@quiet_option
def command(files: tuple[str, ...], check: bool, printed: bool, priors_only: bool, quiet: bool) -> None:
    """Lay prior files out in the one canonical way; comments stay, meaning never changes."""
    from priorlang.files import write_whole
    from priorlang.syntax.reformat import formatted
    from priorlang.syntax.source import may_be_prior, read_source

    if check and printed:
        raise click.UsageError("--check writes nothing and --stdout prints: take one of them")
    code = CLEAN
    for file in files:
        if priors_only and not may_be_prior(file):
            continue
        try:
            source = read_source(file)
            text = formatted(source)
            if printed:
                click.echo(text, nl=False)
                continue
            if text == source.text:
                continue
            if check:
                remark(f"{file}: not in canonical layout; run `priorlang fmt {file}`", quiet=quiet)
                code = max(code, FINDINGS)
                continue
            write_whole(Path(file), text.encode())
            remark(f"{file}: formatted", quiet=quiet)
        except PriorError as error:
            print_findings(error.findings)
            code = max(code, USAGE if exit_code(error.findings) == USAGE else FINDINGS)
    sys.exit(code)
