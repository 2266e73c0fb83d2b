"""`priorlang help CODE`"""

from __future__ import annotations

import re
import sys

import click

from priorlang.cli.exits import USAGE
from priorlang.diagnostics.pages import page
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
    click.echo(_plain(page(found)))


def _plain(markdown: str) -> str:
    """A page for a terminal: fences become indentation."""
    text = re.sub(
        r"^```[^\n]*\n(.*?)^```$",
        lambda fence: "".join(f"    {line}\n" for line in fence[1].rstrip("\n").split("\n")).rstrip("\n"),
        markdown,
        flags=re.MULTILINE | re.DOTALL,
    )
    return re.sub(r"^## ", "", text, flags=re.MULTILINE).replace("**", "")
