"""`priorlang help CODE`"""

from __future__ import annotations

import sys

import click

from priorlang.cli.exits import USAGE
from priorlang.diagnostics.registry import REGISTRY, entry_of
from priorlang.diagnostics.suggest import closest


@click.command("help")
@click.argument("code", required=False)
def command(code: str | None) -> None:
    """Explain a finding by its code or name; without one, list them all."""
    if code is None:
        for entry in REGISTRY.values():
            click.echo(f"{entry.code}  {entry.name:<22} {entry.meaning}")
        return
    found = entry_of(code)
    if found is None:
        meant = closest(code, [*REGISTRY, *(entry.code for entry in REGISTRY.values())])
        hint = f"; did you mean `{meant}`?" if meant else "; `priorlang help` lists them"
        click.echo(f"error: there is no finding `{code}`{hint}", err=True)
        sys.exit(USAGE)
    kind = "an opinion, which `allow` can silence" if found.heuristic else "a fact"
    click.echo(f"{found.code} {found.name} ({kind})\n\n{found.meaning}\n\n{found.advice}")
