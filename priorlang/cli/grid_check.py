"""A grid file in `validate`: the file, and the training file of every cell."""

from __future__ import annotations

import tempfile
from pathlib import Path

from priorlang.diagnostics.human import counted
from priorlang.grid.cells import reported_cells, search_cells
from priorlang.grid.forecast import first_settings
from priorlang.grid.load import read_grid


def check_grid(file: str) -> str:
    """Check a grid as far as it can be before anything is trained.

    Returns:
        What it is, in a line.

    Raises:
        PriorError: anything is wrong with it, or with what a variant makes of its training file.
    """
    grid = read_grid(file)
    with tempfile.TemporaryDirectory() as priors:
        search_cells(grid, Path(priors))
        cells = reported_cells(grid, first_settings(grid), Path(priors))
    return (
        f"{file}: a grid of {counted(len(cells), 'cell')} ({counted(len(grid.plan.variants), 'variant')}, "
        f"{counted(len(grid.plan.seeds), 'seed')}); `priorlang grid {file} --dry-run` prints what it trains"
    )
