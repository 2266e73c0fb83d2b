"""`priorlang schema prior|train|grid`"""

from __future__ import annotations

import click

from priorlang.cli.options import always_quiet_option
from priorlang.cli.output import write_json


@click.command("schema")
@click.argument("kind", type=click.Choice(["prior", "train", "grid"]))
@always_quiet_option
def command(kind: str) -> None:
    """Print the JSON Schema of a prior in YAML, of a training file or of a grid, for an editor."""
    if kind == "prior":
        from priorlang.schema.prior import prior_schema

        write_json(prior_schema())
    elif kind == "grid":
        from priorlang.schema.grid import grid_schema

        write_json(grid_schema())
    else:
        from priorlang.schema.training import training_schema

        write_json(training_schema())
