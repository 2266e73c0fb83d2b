"""Paired differences to the reference with their intervals, a row for each variant (a forest plot)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from priorlang.grid.paired import Paired
from priorlang.pages.figure import ABOVE, FAINT, INK, draw, label_width, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = 0.21
_BELOW, _ABOVE = 0.46, 0.12
_CUT = 4.0
"""Intervals beyond so many times the middle one's reach are cut off, and end in an arrow."""
_LETTERS = 30


@dataclass(frozen=True)
class ForestRow:
    """A variant's difference, and those of its seeds one by one."""

    variant: str
    found: Paired
    seeds: tuple[float, ...]


def forest_figure(
    rows: Sequence[ForestRow], reference: str, title: str, better: str | None, name: str
) -> str | None:
    """Mean differences with intervals; small circles are single seeds. None without rows.

    Args:
        rows: the variants but the reference.
        reference: its name.
        title: of the metric.
        better: `higher`, `lower` or None.
        name: unique in the page.
    """
    if not rows:
        return None
    height = _BELOW + _ROW * len(rows) + _ABOVE
    low, high = _ends(rows)
    names = [shortened(row.variant, _LETTERS) for row in rows]
    left = label_width(names, 7.0)

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((left, _BELOW / height, 0.98 - left, _ROW * len(rows) / height))
        axes.axvline(0, color=FAINT, linewidth=1.0, zorder=0)
        for place, row in enumerate(rows):
            _row(axes, len(rows) - 1 - place, row, low, high)
        axes.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_yticks(range(len(rows)), names[::-1], color=INK)
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=7)
        axes.xaxis.set_major_formatter(lambda value, _: signed(value))
        axes.spines["left"].set_visible(False)
        axes.set_axisbelow(True)
        axes.grid(axis="y", linewidth=0.4)
        axes.set_xlabel(f"{title}, minus {reference}{_way(better)}")

    return draw(
        height,
        paint,
        name=name,
        title=f"{title}, minus {reference}",
        description=" ".join(in_words(row) for row in rows),
    )


def in_words(row: ForestRow) -> str:
    """A variant's difference and interval as text."""
    found = row.found
    interval = (
        f", interval {found.low:+.3g} to {found.high:+.3g}"
        if found.low is not None and found.high is not None
        else ", no interval"
    )
    return f"{row.variant}: {found.mean:+.3g}{interval}, n = {found.n}."


def signed(value: float) -> str:
    """Three figures with their sign; 0 has none."""
    return f"{value:+.3g}".replace("-", "−") if value else "0"


def _row(axes: Axes, y: int, row: ForestRow, low: float, high: float) -> None:
    found = row.found
    if found.low is not None and found.high is not None:
        colour = ABOVE if found.low > 0 or found.high < 0 else FAINT
        ends = max(found.low, low), min(found.high, high)
        axes.plot(ends, [y, y], color=colour, linewidth=2.0, solid_capstyle="butt")
        for end, cut, marker in ((low, found.low < low, "<"), (high, found.high > high, ">")):
            if cut:
                axes.plot([end], [y], marker, color=colour, markersize=4, clip_on=False)
    axes.plot(
        row.seeds,
        [y] * len(row.seeds),
        "o",
        color="none",
        markeredgecolor=INK,
        markersize=3,
        markeredgewidth=0.6,
    )
    axes.plot([found.mean], [y], "D", color=INK, markersize=3.6)


def _ends(rows: Sequence[ForestRow]) -> tuple[float, float]:
    """Of the axis: 0, every mean and every seed are within; intervals much wider than the others are cut off."""
    points = [0.0, *(value for row in rows for value in (row.found.mean, *row.seeds))]
    known = [
        (found.mean, found.low, found.high)
        for found in (row.found for row in rows)
        if found.low is not None and found.high is not None
    ]
    reach = _CUT * median([high - mean for mean, _, high in known]) if known else 0.0
    lows = [max(low, mean - reach) for mean, low, _ in known]
    highs = [min(high, mean + reach) for mean, _, high in known]
    low, high = min(points + lows), max(points + highs)
    return (low, high) if high > low else (-1.0, 1.0)


def _way(better: str | None) -> str:
    return {"higher": "   (right is better →)", "lower": "   (← left is better)"}.get(better or "", "")
