"""`priorlang init [DIR] [--from NAME]`"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from priorlang.cli.exits import USAGE
from priorlang.cli.options import quiet_option
from priorlang.cli.output import fail, remark
from priorlang.diagnostics.finding import PriorError


@click.command("init")
@click.argument("folder", default=".", metavar="[DIR]")
@click.option(
    "--from", "name", default="modality", show_default=True, metavar="NAME", help="A prior of specs/."
)
@click.option("--list", "listing", is_flag=True, help="List the priors to start from.")
@quiet_option
def command(folder: str, name: str, listing: bool, quiet: bool) -> None:
    """Start a project: copy a ready-made prior into DIR, with comments that teach."""
    from priorlang.diagnostics.suggest import closest
    from priorlang.files import write_whole
    from priorlang.ready_made import spec_names, spec_text

    names = spec_names()
    if listing:
        for known in names:
            first = next((line for line in spec_text(known).splitlines() if line.startswith("#")), "")
            click.echo(f"{known:<22} {first.lstrip('# ')}")
        return
    wanted = name.removesuffix(".prior")
    if wanted not in names:
        meant = closest(wanted, names)
        hint = f"; did you mean `{meant}`?" if meant else f"; there are {', '.join(names)}"
        click.echo(f"error: there is no ready-made prior `{name}`{hint}", err=True)
        sys.exit(USAGE)
    target = Path(folder) / f"{Path(wanted).name}.prior"
    if target.exists():
        click.echo(f"error: {target} exists already, and is not overwritten; choose another DIR", err=True)
        sys.exit(USAGE)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, spec_text(wanted).encode())
    except OSError as error:
        click.echo(f"error: {target.parent} cannot be made: {error.strerror}", err=True)
        sys.exit(USAGE)
    except PriorError as error:
        fail(error)
    remark(_next_steps(target), quiet=quiet)


def _next_steps(target: Path) -> str:
    """What to do with a new prior: commands that work as they stand."""
    from priorlang.phases import Prior
    from priorlang.table.cell_text import example_of

    steps = {
        f"priorlang validate {target}": "is it sound, and does it do what it expects?",
        f"priorlang explain {target} --at {example_of(Prior.read(target).spec)}": "where each number comes from",
        f"priorlang preview {target} -o {target.with_suffix('.html')}": "the distributions that it asks for",
        f"priorlang fmt {target}": "the canonical layout, after a change",
    }
    lines = (f"  {command}\n      {purpose}" for command, purpose in steps.items())
    return f"wrote {target}: its comments say what each line means\n\n" + "\n".join(
        ["Change `model` to your model, then:", *lines]
    )
