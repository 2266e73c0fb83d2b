"""What a grid's numbers do not say, a sentence each, with the numbers that make them weak."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from scipy.stats import t as student

from priorlang.grid.measured import Measured
from priorlang.grid.paired import CONFIDENCE

if TYPE_CHECKING:
    from priorlang.grid.document import Document

FEW = 5
"""Below so many seeds an interval says little."""


def notes(document: Document) -> Iterator[str]:
    """What is missing, how weak the intervals are, and what is in none of them."""
    waiting = sum(status.state == "waiting" for row in document.rows for status in row.cells.values())
    if waiting:
        yield f"{waiting} cells have not run yet."
    compared = [
        found
        for row in document.rows
        for metric in document.plan.metrics
        if metric.paired and (found := row.difference.get(metric.name))
    ]
    least = min((found.n for found in compared), default=0)
    if least == 1:
        yield "n = 1: one seed has no spread, and a difference on it shows nothing about the next."
    elif 0 < least < FEW:
        factor = float(student.ppf(0.5 + CONFIDENCE / 2, least - 1))
        yield (
            f"n = {least}: an interval of {least} seeds says little. It is Student's t with {least - 1} degree{'s' * (least > 2)} of freedom, "
            f"{factor:.1f} standard errors to each side, and takes the differences for draws of a normal distribution."
        )
    intervals = sum(found.low is not None for found in compared)
    if intervals > 1:
        yield (
            f"{intervals} intervals at {CONFIDENCE:.0%} each: where no variant differed at all, about "
            f"{intervals * (1 - CONFIDENCE):.1f} of them would miss zero by chance."
        )
    if document.once:
        yield (
            f"Every seed starts from the same {', '.join(document.once)}: what another run of these stages would change is not in "
            "the spread."
        )
    yield from _data(document.measured)


def _data(measured: Measured) -> Iterator[str]:
    whole = not measured.trained_on and not measured.various
    if measured.held_out:
        what = "All cells are" if whole else f"{', '.join(measured.held_out)}: all cells are"
        yield f"{what} measured on the same held-out data, so its own sampling error is in no interval."
    if measured.trained_on:
        yield f"{', '.join(measured.trained_on)}: measured on data that was trained on, not on held-out data."
    if measured.various:
        yield (
            f"{', '.join(measured.various)}: not all cells are measured on the same data, so a difference may be one of the data."
        )
