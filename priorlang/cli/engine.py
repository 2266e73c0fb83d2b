"""The engine behind the commands that train: whether it is installed."""

from __future__ import annotations

import sys

import click

from priorlang.cli.exits import USAGE


def require_engine(doing: str = "training") -> None:
    """Leave with the way to install it where the engine is not there."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "transformers", "deepspeed") if find_spec(name) is None]
    if missing:
        names = " and ".join([", ".join(missing[:-1])] * (len(missing) > 1) + missing[-1:])
        verb = "are" if len(missing) > 1 else "is"
        hint = "run `pip install 'priorlang[train]'`"
        click.echo(f"error: {doing} needs {names}, which {verb} not installed; {hint}", err=True)
        sys.exit(USAGE)
