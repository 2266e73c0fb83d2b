"""A GridRecord → one HTML page that needs nothing else."""

from __future__ import annotations

from dpsl.report.comparison.parts import (
    cells_part,
    differences_part,
    given_part,
    learning_part,
    means_part,
    routing_part,
    search_part,
)
from dpsl.report.comparison.read import GridRecord
from dpsl.report.comparison.words import findings, state_of
from priorlang.pages.html import bullets, document, element, page_title


def render_comparison(grid: GridRecord) -> str:
    """The page of a grid; the same for the same record.

    Raises:
        MissingMatplotlibError: matplotlib is not installed.
    """
    return document(
        f"{grid.name} · priorlang report",
        element("h1", page_title("Grid", grid.name)),
        element("p", state_of(grid), class_="faint"),
        *(element("p", remark, class_="remark") for remark in grid.remarks),
        bullets(findings(grid)),
        means_part(grid),
        differences_part(grid),
        routing_part(grid),
        learning_part(grid),
        search_part(grid),
        cells_part(grid),
        given_part(grid),
    )
