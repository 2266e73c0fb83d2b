"""`priorlang preview FILE -o OUT`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from priorlang.cli.exits import USAGE
from priorlang.cli.options import always_quiet_option, given_by, model_option, set_option
from priorlang.cli.output import fail
from priorlang.diagnostics.finding import PriorError

if TYPE_CHECKING:
    from priorlang.checks.shares import ClassShares
    from priorlang.compare.difference import Side


@click.command("preview")
@click.argument("file")
@click.option("-o", "--output", required=True, metavar="OUT", help="Where to write; ends in .html or .png.")
@click.option(
    "--at",
    "cells",
    metavar="CELLS",
    help="Show these cells alone: 'modality=vision task=reading|vqa layer=0..11'.",
)
@click.option(
    "--experts",
    "triples",
    multiple=True,
    metavar="I,J,K",
    help="Draw samples of these three experts on the simplex; may be repeated.",
)
@click.option(
    "--shares",
    metavar="SHARES",
    help="Token shares, as modality.vision=0.85,modality.language=0.15, or a file of counts: the load of all tokens.",
)
@set_option
@model_option
@always_quiet_option
def command(
    file: str,
    output: str,
    cells: str | None,
    triples: tuple[str, ...],
    shares: str | None,
    settings: tuple[str, ...],
    model_config: str | None,
) -> None:
    """Draw what a prior asks for: its curves, how strong they are and the load they imply. Prints the path."""
    from priorlang.compare.load import load_subject
    from priorlang.files import write_whole
    from priorlang.pages.figure import MissingMatplotlibError
    from priorlang.preview.page import preview_html, preview_png
    from priorlang.preview.selection import everything, parse_selection
    from priorlang.preview.view import view_of
    from priorlang.settings import parse_settings

    if not output.endswith((".html", ".png")):
        raise click.UsageError(f"OUT ends in .html or .png, and {output} does not")
    try:
        side = load_subject(file, parse_settings(settings), given_by(model_config)).side
        if side.is_nothing:
            raise click.UsageError(f"there is no prior in {file}")
        selection = everything(side.table) if cells is None else parse_selection(side.table, cells)
        view = view_of(side.table, selection, _shares(side, shares))
        chosen = [_triple(text, view.experts) for text in triples] or (
            [(0, 1, 2)] if view.experts == 3 else []
        )
        draw = preview_html if output.endswith(".html") else preview_png
        drawn = draw(Path(file).name, view, chosen)
        write_whole(Path(output), drawn.encode() if isinstance(drawn, str) else drawn)
    except PriorError as error:
        fail(error)
    except MissingMatplotlibError:
        click.echo("error: a preview needs matplotlib: pip install 'priorlang[figures]'", err=True)
        sys.exit(USAGE)
    click.echo(output)


def _shares(side: Side, shares: str | None) -> ClassShares | None:
    """The token shares that are given."""
    if shares is None:
        return None
    from priorlang.checks.shares import evidence_of
    from priorlang.cli.evidence import given_evidence

    if side.spec is None:
        raise click.UsageError(f"--shares needs a prior file, and {side.name} is a table")
    given = given_evidence(shares, None)
    return evidence_of(side.spec, given.shares, None, given.place).shares


def _triple(text: str, experts: int) -> tuple[int, int, int]:
    """Three different experts of the model."""
    words = text.split(",")
    numbers = [int(word) for word in words if word.strip().isdecimal() and len(word) < 10]
    if len(words) != 3 or len(set(numbers)) != 3:
        raise click.UsageError(f"--experts takes three different experts, as 0,1,2; `{text}` is not that")
    if max(numbers) >= experts:
        raise click.UsageError(f"there is no expert {max(numbers)}; experts run from 0 to {experts - 1}")
    return numbers[0], numbers[1], numbers[2]
