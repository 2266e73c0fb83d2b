"""Learning curves of variants, a panel each: seeds as thin lines, the reference's mean behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dpsl.report.comparison.numbers import Curve
from dpsl.report.figures.training import plain_logarithms
from priorlang.pages.figure import ABOVE, FAINT, INK, draw, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 3
_PANEL = 1.15
_LETTERS = 28
_LOG_RANGE = 20.0


def learning_figure(curves: Mapping[str, Sequence[Curve]], reference: str, name: str) -> str | None:
    """Training loss over the steps. All panels share both scales. None without any."""
    if not curves:
        return None
    rows = math.ceil(len(curves) / _COLUMNS)
    height = 0.5 + _PANEL * rows
    losses = np.concatenate([curve.losses for found in curves.values() for curve in found])
    logarithmic = bool(losses.min() > 0 and losses.max() > _LOG_RANGE * losses.min())
    end = max(float(curve.steps[-1]) for found in curves.values() for curve in found)
    behind = mean_curve(curves[reference]) if reference in curves else None

    def paint(figure: Figure) -> None:
        for place, (variant, found) in enumerate(curves.items()):
            row, column = divmod(place, _COLUMNS)
            low = (0.46 + _PANEL * (rows - 1 - row)) / height
            axes = figure.add_axes((0.075 + 0.312 * column, low, 0.275, 0.74 * _PANEL / height))
            if behind is not None and variant != reference:
                axes.plot(*behind, color=FAINT, linewidth=1.6, alpha=0.55)
            for curve in found:
                marker = "o" if len(curve.steps) == 1 else ""
                axes.plot(curve.steps, curve.losses, color=ABOVE, linewidth=0.7, marker=marker, markersize=2)
            if logarithmic:
                axes.set_yscale("log")
                plain_logarithms(axes)
            else:
                axes.locator_params(axis="y", nbins=4)
            axes.set_xlim(0, max(end, 1))
            axes.set_ylim(*_limits(losses, logarithmic=logarithmic))
            axes.grid(axis="y")
            axes.set_axisbelow(True)
            axes.spines["left"].set_visible(False)
            axes.tick_params(axis="y", length=0, which="both", labelleft=column == 0)
            axes.locator_params(axis="x", nbins=4, integer=True)
            lowest = place + _COLUMNS >= len(curves)
            axes.tick_params(labelbottom=lowest)
            if lowest:
                axes.set_xlabel("optimizer step")
            if column == 0:
                axes.set_ylabel("loss (log)" if logarithmic else "loss")
            label = shortened(variant, _LETTERS)
            axes.text(0, 1.03, label, transform=axes.transAxes, fontweight="bold", va="bottom", color=INK)

    return draw(
        height,
        paint,
        name=name,
        title="Training loss over the steps, by variant",
        description=" ".join(_in_words(variant, found) for variant, found in curves.items()),
    )


def mean_curve(curves: Sequence[Curve]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean over seeds at the steps that all of them have."""
    common = curves[0].steps
    for curve in curves[1:]:
        common = np.intersect1d(common, curve.steps)
    picked = [dict(zip(curve.steps.tolist(), curve.losses.tolist(), strict=True)) for curve in curves]
    return common, np.array([np.mean([losses[step] for losses in picked]) for step in common.tolist()])


def _limits(losses: NDArray[np.float64], *, logarithmic: bool) -> tuple[float, float]:
    low, high = float(losses.min()), float(losses.max())
    if logarithmic:
        return low / 1.15, high * 1.15
    margin = 0.06 * max(high - low, 1e-9)
    return low - margin, high + margin


def _in_words(variant: str, found: Sequence[Curve]) -> str:
    last = ", ".join(f"{curve.losses[-1]:.3g}" for curve in found)
    return f"{variant}: last loss {last}."
