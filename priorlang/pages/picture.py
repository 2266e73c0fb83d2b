"""Drawings that can stand in a page as SVG, and one above the other in a PNG."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from priorlang.pages.figure import FAINT, WIDTH, draw, look

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LIGHT = ("#1b1e23", "#626a76", "#d9dde3", "#ffffff")
"""Ink, faint, grid and paper of style.css."""
_DOTS = 200
_TALLEST = 300.0
"""Inches; Agg ends at 65,536 dots."""
_LETTERS = 118
"""Of a caption, in a line."""
_LINE = 0.16
_MARGIN = 0.25


@dataclass(frozen=True)
class Drawing:
    """A figure before it is drawn: see `figure.draw`. `caption` stands below it; one title may head several."""

    height: float
    paint: Callable[[Figure], None]
    name: str
    title: str
    description: str
    caption: str

    @property
    def svg(self) -> str:
        """An `<svg>` element. Raises MissingMatplotlibError."""
        return draw(self.height, self.paint, name=self.name, title=self.title, description=self.description)


def picture(heading: str, remarks: Sequence[str], drawings: Sequence[Drawing]) -> bytes:
    """A PNG: a heading, remarks, and drawings with their titles and captions; the same for the same input.

    Raises:
        MissingMatplotlibError: matplotlib is not installed.
    """
    from priorlang.pages.figure import require_matplotlib

    require_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    lines = [line for remark in remarks for line in textwrap.wrap(remark, _LETTERS)]
    rows: list[tuple[float, Callable[[Figure], None]]] = [_text_row(heading, 11, lines)]
    title = ""
    for drawing in drawings:
        caption = textwrap.wrap(drawing.caption, _LETTERS)
        rows.append(_text_row(drawing.title if drawing.title != title else "", 9, []))
        rows += [(drawing.height, drawing.paint), _text_row("", 9, caption)]
        title = drawing.title
    heights = [height for height, _ in rows]
    buffer = io.BytesIO()
    with matplotlib.rc_context(look(*_LIGHT)):
        size = (WIDTH + 2 * _MARGIN, min(sum(heights), _TALLEST))
        page = Canvas(figsize=size, facecolor=_LIGHT[3])
        cells = page.subfigures(
            len(rows), 3, height_ratios=heights, width_ratios=[_MARGIN, WIDTH, _MARGIN], squeeze=False
        )
        for cell, (_, paint) in zip(cells[:, 1], rows, strict=True):
            cell.set_facecolor("none")
            paint(cell)
        page.savefig(buffer, format="png", dpi=_DOTS, metadata={"Software": None})
    return buffer.getvalue()


def _text_row(heading: str, size: float, lines: Sequence[str]) -> tuple[float, Callable[[Figure], None]]:
    """The height of a heading with lines below it, and how to write them."""
    above = 0.4 if heading else 0.1
    height = above + _LINE * len(lines) + 0.06

    def paint(figure: Figure) -> None:
        figure.text(0.0, 1 - 0.22 / height, heading, fontsize=size, fontweight="bold", va="center")
        for place, line in enumerate(lines):
            y = 1 - (above + _LINE * (place + 0.4)) / height
            figure.text(0.0, y, line, color=FAINT, fontsize=7.5, va="center")

    return height, paint
