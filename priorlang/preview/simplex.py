"""Samples of three experts' shares on the simplex, a triangle for each prior."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from priorlang.pages.figure import FAINT, GRID, INK, SHAPED, evenly_spaced
from priorlang.pages.picture import Drawing
from priorlang.preview.view import View
from priorlang.preview.words import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_TRIANGLES = 12
SAMPLES = 300
_ACROSS = 4
_TALL = 1.95
_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])


def simplex_drawing(view: View, experts: tuple[int, int, int], *, name: str) -> Drawing | None:
    """Samples of every prior for three experts; None where all is unshaped."""
    shown = [view.priors[place] for place in evenly_spaced(len(view.priors), MOST_TRIANGLES)]
    if not shown:
        return None
    across = min(_ACROSS, len(shown))
    down = -(-len(shown) // across)
    height = _TALL * down

    def paint(figure: Figure) -> None:
        for panel, prior in enumerate(shown):
            line, column = divmod(panel, across)
            box = (
                column / _ACROSS + 0.01,
                1 - (line + 1) / down + 0.02 / down,
                1 / _ACROSS - 0.02,
                0.88 / down,
            )
            axes = figure.add_axes(box)
            _paint_triangle(axes, prior.alpha[list(experts)], experts)
            axes.set_title(
                f"{prior.number} · {shortened(prior.where, 22)}", loc="left", color=INK, fontweight="bold"
            )

    listed = ", ".join(map(str, experts))
    part = (
        "" if view.experts == 3 else " Among all experts they get only a part: shown is how they divide it."
    )
    rest = ""
    if len(shown) < len(view.priors):
        rest = f" {len(shown)} of {len(view.priors):,} priors are shown; --at picks others."
    return Drawing(
        height,
        paint,
        name=name,
        title=f"Experts {listed}: how tokens divide them",
        description=" ".join(
            f"Prior {prior.number}: means {_means(prior.alpha[list(experts)])}." for prior in shown
        ),
        caption=f"Each dot is a token drawn from the prior ({SAMPLES} for each): the nearer to a corner, the more it "
        f"goes to that expert. The cross is the mean.{part}{rest}",
    )


def sample_shares(alpha: NDArray[np.float64], count: int, seed: int = 0) -> NDArray[np.float64]:
    """[count, 3] samples of Dir(alpha); among more experts, three of them share what they get together like this.

    In logarithms, Gamma(α) being Gamma(α + 1) · U^(1/α), so that no small α underflows.
    """
    random = np.random.default_rng(seed)
    shape = alpha[None, :].repeat(count, axis=0)
    # Beyond, a gamma is its mean, and the generator overflows.
    log_gamma = np.log(random.standard_gamma(np.minimum(shape, 1e12) + 1.0)) + np.log(
        np.maximum(shape / 1e12, 1.0)
    )
    log_uniform = np.log1p(-random.random(shape.shape))
    with np.errstate(over="ignore"):
        logs = log_gamma + np.maximum(log_uniform / shape, -1e300)
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _paint_triangle(axes: Axes, alpha: NDArray[np.float64], experts: tuple[int, int, int]) -> None:
    outline = np.vstack([_CORNERS, _CORNERS[:1]])
    axes.plot(*outline.T, color=GRID, linewidth=1.0)
    points = sample_shares(alpha, SAMPLES) @ _CORNERS
    axes.plot(*points.T, "o", color=SHAPED, markersize=2.2, markeredgewidth=0, alpha=0.55, clip_on=False)
    axes.plot(*((alpha / alpha.sum()) @ _CORNERS), "+", color=INK, markersize=7, markeredgewidth=1.2)
    for corner, expert, (dx, dy) in zip(
        _CORNERS, experts, [(-0.06, -0.03), (0.06, -0.03), (0, 0.08)], strict=True
    ):
        axes.text(corner[0] + dx, corner[1] + dy, str(expert), ha="center", va="center", color=FAINT)
    axes.set_xlim(-0.12, 1.12)
    axes.set_ylim(-0.1, 1.0)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _means(alpha: NDArray[np.float64]) -> str:
    return ", ".join(f"{share:.3f}" for share in alpha / alpha.sum())
