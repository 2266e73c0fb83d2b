"""Routing probabilities of tokens on the simplex of three experts, the prior's density beside them (the paper's Figure 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from priorlang.pages.figure import ABOVE, FAINT, GRID, INK, WIDTH, draw, evenly_spaced, expert_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_POINTS = 250
"""Of a panel."""
LEAST_SHARE = 1e-3
"""Tokens that give the three experts less than this together are left out."""
_TALL = math.sqrt(3) / 2
_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, _TALL]])
_LEFT = 0.85
"""Inches for names of rows."""
_RASTER = 72


@dataclass(frozen=True, eq=False)
class Triangle:
    """A panel: tokens' p [N, 3] on the three experts, or the density of Dir(alpha [3]); neither: an empty panel."""

    heading: str
    points_N3: NDArray[np.float64] | None = None
    alpha_3: NDArray[np.float64] | None = None


def triple_of(experts: int) -> tuple[int, ...]:
    """Three experts out of K, first and last among them; fewer where there are fewer."""
    return tuple(evenly_spaced(experts, 3))


def on_triple(probability_NK: NDArray[np.float64], triple: Sequence[int]) -> NDArray[np.float64]:
    """[n, 3], p of three experts divided by their sum: of p ~ Dir(α) this is Dir(α of the three), exactly."""
    share_N3 = probability_NK[:, list(triple)]
    sum_N1 = share_N3.sum(-1, keepdims=True)
    kept: NDArray[np.float64] = (share_N3 / np.maximum(sum_N1, 1e-300))[sum_N1[:, 0] >= LEAST_SHARE]
    return kept


def simplex_figure(
    rows: Sequence[tuple[str, Sequence[Triangle]]],
    triple: Sequence[int],
    experts: int,
    *,
    title: str,
    description: str,
    name: str,
) -> str | None:
    """Rows of triangles, all of one size. None without rows, or for fewer than three experts.

    Args:
        rows: what each is called, and its panels.
        triple: the experts in the corners: left, right, top.
        experts: K.
        title: of the figure.
        description: in words.
        name: unique in the page.
    """
    if not rows or len(triple) != 3:
        return None
    columns = max(len(panels) for _, panels in rows)
    left = _LEFT if any(label for label, _ in rows) else 0.0
    slot = min((WIDTH - left) / columns, 2.1)
    side = slot - 0.36
    tall = side * _TALL + 0.52
    height = tall * len(rows) + 0.06
    colours = expert_colours(experts)

    def paint(figure: Figure) -> None:
        for row, (label, panels) in enumerate(rows):
            low = height - tall * (row + 1) + 0.22
            for column, panel in enumerate(panels):
                box = (left + slot * column + 0.18, low, side, side * _TALL)
                axes = figure.add_axes(_inches(box, height))
                _triangle(axes, panel, [(f"{expert}", colours[expert]) for expert in triple])
                _beside(axes, panel.heading, (0.5, _TALL), (0, 13), "center", "bottom", INK, 7.5)
            if label:
                figure.text(
                    0.0, (low + 0.5 * side * _TALL) / height, label, ha="left", va="center", fontweight="bold"
                )

    return draw(height, paint, name=name, title=title, description=description)


def _inches(box: tuple[float, float, float, float], height: float) -> tuple[float, float, float, float]:
    left, low, width, tall = box
    return left / WIDTH, low / height, width / WIDTH, tall / height


def _triangle(axes: Axes, panel: Triangle, corners: Sequence[tuple[str, str]]) -> None:
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path

    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, _TALL)
    if panel.alpha_3 is not None:
        axes.imshow(
            _density(panel.alpha_3),
            extent=(0, 1, 0, _TALL),
            origin="lower",
            aspect="auto",
            interpolation="none",
        )
    axes.add_patch(Polygon(_CORNERS, closed=True, fill=False, edgecolor=GRID, linewidth=1.0, clip_on=False))
    if panel.points_N3 is not None and len(panel.points_N3):
        xy_N2 = panel.points_N3[:MOST_POINTS] @ _CORNERS
        # Strokes of no length with round ends: one path in place of hundreds of markers.
        steps = np.repeat(xy_N2, 2, axis=0)
        path = Path(steps, [Path.MOVETO, Path.LINETO] * len(xy_N2))
        path.should_simplify = False
        dots = PathPatch(
            path,
            fill=False,
            edgecolor=ABOVE,
            linewidth=2.2,
            alpha=0.8,
            capstyle="round",
            clip_on=False,
        )
        axes.add_patch(dots)
    elif panel.alpha_3 is None:
        axes.text(0.5, 0.3, "no tokens", ha="center", va="center", color=FAINT, fontsize=7)
    middle = _CORNERS.mean(0)
    axes.plot(*middle, "+", color=INK, markersize=5, markeredgewidth=0.8)
    left, right, top = corners
    _beside(axes, left[0], (0.0, 0.0), (-2, -2), "right", "top", left[1], 7.0)
    _beside(axes, right[0], (1.0, 0.0), (2, -2), "left", "top", right[1], 7.0)
    _beside(axes, top[0], (0.5, _TALL), (0, 2), "center", "bottom", top[1], 7.0)


def _beside(
    axes: Axes,
    text: str,
    corner: tuple[float, float],
    points: tuple[int, int],
    across: Literal["left", "center", "right"],
    along: Literal["top", "bottom"],
    colour: str,
    size: float,
) -> None:
    """Words so many points away from a place of the triangle."""
    axes.annotate(
        text, corner, points, textcoords="offset points", ha=across, va=along, color=colour, fontsize=size,
        fontweight="bold", annotation_clip=False,
    )  # fmt: skip


def _density(alpha_3: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours [H, W, 4] of ln-gamma's usual density, full from the 95th percentile of the raster on."""
    from priorlang.pages.heat import ramp

    x = (np.arange(_RASTER) + 0.5) / _RASTER
    y = (np.arange(int(_RASTER * _TALL)) + 0.5) / int(_RASTER * _TALL) * _TALL
    grid_x, grid_y = np.meshgrid(x, y)
    top = grid_y / _TALL
    right = grid_x - 0.5 * top
    p_HW3 = np.stack([1 - right - top, right, top], axis=-1)
    inside = np.asarray((p_HW3 > 0).all(-1), bool)
    log_density = ((alpha_3 - 1) * np.log(np.where(inside[..., None], p_HW3, 1.0))).sum(-1)
    density = np.where(inside, np.exp(log_density - log_density[inside].max()), 0.0)
    return ramp(density / np.quantile(density[inside], 0.95))
