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


@dataclass(frozen=True)
class Drawing:
    """A figure before it is drawn: see `figure.draw`. `caption` stands below it."""

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
    captions = [textwrap.wrap(drawing.caption, _LETTERS) for drawing in drawings]
    heights = [0.55 + 0.16 * len(lines)]
    for drawing, caption in zip(drawings, captions, strict=True):
        heights.append(0.45 + drawing.height + 0.16 * len(caption))
    buffer = io.BytesIO()
    with matplotlib.rc_context(look(*_LIGHT)):
        page = Canvas(figsize=(WIDTH + 0.4, min(sum(heights), _TALLEST)), facecolor=_LIGHT[3])
        parts = page.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part in parts:
            part.set_facecolor("none")
        _write(parts[0], heading, lines, heights[0], 11)
        for part, height, drawing, caption in zip(parts[1:], heights[1:], drawings, captions, strict=True):
            _write(part, drawing.title, [], height, 9)
            for place, line in enumerate(reversed(caption)):
                part.text(0.03, (0.06 + 0.16 * place) / height, line, color=FAINT, fontsize=7.5, va="bottom")
            inner = part.add_subfigure(part.add_gridspec(1, 1, **_box(height, drawing.height, caption))[0])
            inner.set_facecolor("none")
            drawing.paint(inner)
        page.savefig(buffer, format="png", dpi=_DOTS, metadata={"Software": None})
    return buffer.getvalue()


def _box(height: float, inside: float, caption: Sequence[str]) -> dict[str, float]:
    bottom = (0.12 + 0.16 * len(caption)) / height
    side = 0.2 / (WIDTH + 0.4)
    return {"left": side, "right": 1 - side, "bottom": bottom, "top": bottom + inside / height}


def _write(part: Figure, heading: str, lines: Sequence[str], height: float, size: float) -> None:
    part.text(0.03, 1 - 0.2 / height, heading, fontsize=size, fontweight="bold", va="center")
    for place, line in enumerate(lines):
        part.text(0.03, 1 - (0.48 + 0.16 * place) / height, line, color=FAINT, fontsize=7.5, va="center")
