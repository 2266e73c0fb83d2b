"""Figures 2 and 6: distribution functions and simplex before and after, histograms, learning curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from shaping import LEARNING_RATE, POINTS, Case, Shaped

from priorlang.pages.figure import FAINT, GRID, INK, bare, expert_colours
from priorlang.pages.picture import Drawing, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

_HEIGHT = 7.0
_SPACING = {"left": 0.05, "right": 0.99, "bottom": 0.06, "top": 0.96, "wspace": 0.28, "hspace": 0.62}
_CORNERS_K2 = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])
_COLOURS = expert_colours(4)
SOURCE_COLOURS = (_COLOURS[1], _COLOURS[3])
_BARS = 25


def shaping_picture(case: Case, shaped: Shaped, steps: int, seed: int) -> bytes:
    """A PNG of one case, from its start to `steps` steps."""
    before_SNK, after_SNK = shaped.probabilities[0], shaped.probabilities[steps]

    def paint(figure: Figure) -> None:
        panels = figure.subplots(4, 4, gridspec_kw=_SPACING)
        for line, points_SNK, when in (
            (panels[0], before_SNK, "start"),
            (panels[1], after_SNK, f"step {steps}"),
        ):
            for category in range(3):
                _paint_cdf(line[category], case, points_SNK, category)
                line[category].set_title(f"{when}: category {category + 1}", fontsize=7.5, loc="left", pad=4)
            _paint_simplex(line[3], points_SNK, when)
        for source, line in enumerate(panels[2:]):
            for category in range(3):
                _paint_histogram(line[category], case, after_SNK[source], source, category)
        _paint_learning_curve(panels[2][3], shaped.loss_T[: steps + 1])
        _paint_legend(panels[3][3], case)

    loss = shaped.loss_T
    drawing = Drawing(
        _HEIGHT,
        paint,
        name="simplex",
        title=f"Two sources of {POINTS:,} points, shaped for {steps} steps",
        description="Empirical and Beta distribution functions, points on the simplex, histograms, learning curve.",
        caption=f"The loss, summed over the sources, falls from {loss[0]:.3f} to {loss[steps]:.1e}. Logits start from "
        f"N(0, 1) and are the parameters themselves; Adam, learning rate {LEARNING_RATE:g}; seed {seed}. Histograms "
        f"are of step {steps}; arrows give the height of bars cut off.",
    )
    return picture(f"Shaping points on the simplex (the paper’s {case.name})", [], [drawing])


def _paint_cdf(axes: Axes, case: Case, points_SNK: Floats, category: int) -> None:
    grid = np.linspace(0, 1, 401)
    for colour, points_NK, alpha_K in zip(SOURCE_COLOURS, points_SNK, case.alpha, strict=True):
        a, b = alpha_K[category], alpha_K.sum() - alpha_K[category]
        axes.plot(grid, beta.cdf(grid, a, b), color=colour, linewidth=2.6, alpha=0.4)
        ranks = np.arange(1, len(points_NK) + 1) / len(points_NK)
        axes.plot(
            np.sort(points_NK[:, category]), ranks, color=colour, linewidth=1.2, linestyle=(0, (3, 1.5))
        )
    _frame(axes, "p", "CDF" if category == 0 else "")
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.5, 1], ["0", "½", "1"])


def _paint_simplex(axes: Axes, points_SNK: Floats, when: str) -> None:
    axes.plot(*np.vstack([_CORNERS_K2, _CORNERS_K2[:1]]).T, color=GRID, linewidth=1.0)
    for colour, points_NK in zip(SOURCE_COLOURS, points_SNK, strict=True):
        axes.plot(
            *(points_NK @ _CORNERS_K2).T, "o", color=colour, markersize=1.6, markeredgewidth=0, alpha=0.5
        )
    for name, (x, y), (dx, dy) in zip(
        "123", _CORNERS_K2, [(-0.06, -0.04), (0.06, -0.04), (0.08, 0.0)], strict=True
    ):
        axes.text(x + dx, y + dy, name, ha="center", va="center", color=FAINT, fontsize=7)
    axes.set_title(f"{when}: points", fontsize=7.5, loc="left", pad=4)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _paint_histogram(axes: Axes, case: Case, points_NK: Floats, source: int, category: int) -> None:
    alpha_K = case.alpha[source]
    a, b = alpha_K[category], alpha_K.sum() - alpha_K[category]
    edges = np.linspace(0, 1, _BARS + 1)
    density, _ = np.histogram(points_NK[:, category], edges, density=True)
    inside = np.linspace(0.004, 0.996, 400)
    curve = beta.pdf(inside, a, b)
    # Where the density has no bound, the panel ends a little above what it is at the first bars.
    ceiling = 1.25 * max(1.2, float(np.max(beta.pdf([0.06, 0.25, 0.5, 0.75, 0.94], a, b))))
    axes.stairs(np.minimum(density, ceiling), edges, fill=True, color=SOURCE_COLOURS[source], alpha=0.4)
    axes.plot(inside[curve < ceiling], curve[curve < ceiling], color=INK, linewidth=1.1)
    for edge, side, height in ((0.03, "left", density[0]), (0.97, "right", density[-1])):
        if height > ceiling:
            axes.text(edge, ceiling, f"↑ {height:.0f}", fontsize=6.5, ha=side, va="bottom", color=FAINT)
    axes.set_title(f"S{source + 1}: category {category + 1}", fontsize=7.5, loc="left", pad=9)
    _frame(axes, "p", "")
    bare(axes)
    axes.set_ylim(0, ceiling)
    if category == 0:
        axes.set_ylabel("density")


def _paint_learning_curve(axes: Axes, loss_T: Floats) -> None:
    axes.plot(loss_T, color=INK)
    axes.set_yscale("log")
    axes.set_title("loss, both sources", fontsize=7.5, loc="left", pad=9)
    axes.set_xlabel("step")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0e}".replace("e-0", "e−"))
    axes.tick_params(length=2)
    axes.minorticks_off()


def _paint_legend(axes: Axes, case: Case) -> None:
    axes.set_axis_off()
    for line, (colour, alpha) in enumerate(zip(SOURCE_COLOURS, case.priors, strict=True)):
        text = f"S{line + 1}: Dir({', '.join(f'{value:g}' for value in alpha)})"
        axes.text(0.0, 0.92 - 0.17 * line, text, color=colour, fontweight="bold", fontsize=7.5)
    samples = ((2.6, "-", 0.4, "Beta CDF of the prior"), (1.2, (0, (3, 1.5)), 1.0, "CDF of the points"))
    for line, (width, style, strength, text) in enumerate(samples):
        height = 0.58 - 0.17 * line
        axes.plot([0, 0.14], [height, height], color=FAINT, linewidth=width, linestyle=style, alpha=strength)
        axes.text(0.2, height, text, fontsize=7, va="center")
    axes.plot([0, 0.14], [0.24, 0.24], color=INK, linewidth=1.1)
    axes.text(0.2, 0.24, "Beta density of the prior", fontsize=7, va="center")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _frame(axes: Axes, x: str, y: str) -> None:
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    axes.tick_params(length=2)
    axes.set_xlabel(x, labelpad=1)
    axes.set_ylabel(y)
