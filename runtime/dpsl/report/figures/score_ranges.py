"""The range of every expert's routing scores, where experts are too many for a panel each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from dpsl.report.figures.scores import axis_end
from dpsl.report.routing import GroupRouting
from priorlang.pages.figure import ABOVE, FAINT, GRID, INK, draw
from priorlang.routing.statistics import RoutingStatistics, score_quantile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_QUANTILES = (0.1, 0.5, 0.9)
_PANEL = 1.25


def score_range_figure(
    statistics: RoutingStatistics, groups: Sequence[GroupRouting], chosen: Sequence[int], name: str
) -> str | None:
    """From the 10th to the 90th percentile of p, the median between them, a column for each expert; the prior's behind.

    Args:
        statistics: of the stage.
        groups: all of them.
        chosen: which groups have a panel.
        name: unique in the page.

    Returns:
        None where no chosen group has tokens.
    """
    if not chosen:
        return None
    ranges_3GK = np.stack([score_quantile(statistics, quantile) for quantile in _QUANTILES])
    priors = {group: _prior(groups[group].alpha) for group in chosen}
    known = [ranges_3GK[2, list(chosen)], *(of for of in priors.values() if of is not None)]
    end = axis_end(max(float(np.nanmax(of)) for of in known))
    height = _PANEL * len(chosen) + 0.3

    def paint(figure: Figure) -> None:
        for row, group in enumerate(chosen):
            low = (0.36 + _PANEL * (len(chosen) - 1 - row)) / height
            axes = figure.add_axes((0.075, low, 0.905, 0.7 * _PANEL / height))
            _ranges(axes, ranges_3GK[:, group], priors[group])
            axes.set_ylim(0, end)
            title = f"layer {groups[group].layer}, {groups[group].kind}"
            axes.text(0, 1.05, title, transform=axes.transAxes, fontweight="bold", va="bottom", color=INK)
            axes.set_ylabel("score p")
            axes.tick_params(labelbottom=row == len(chosen) - 1)
            if row == len(chosen) - 1:
                axes.set_xlabel("expert")

    return draw(
        height,
        paint,
        name=name,
        title="Range of every expert's routing scores",
        description=" ".join(_in_words(groups[group], ranges_3GK[1, group]) for group in chosen),
    )


def _prior(alpha: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """[3, K], the quantiles of the Beta marginals."""
    if alpha is None:
        return None
    quantiles_3K = betaincinv(alpha, alpha.sum() - alpha, np.array(_QUANTILES)[:, None])
    return np.asarray(quantiles_3K, np.float64)


def _ranges(axes: Axes, range_3K: NDArray[np.float64], prior_3K: NDArray[np.float64] | None) -> None:
    experts = np.arange(range_3K.shape[1])
    width = max(0.8, min(5.0, 300 / len(experts)))
    if prior_3K is not None:
        axes.vlines(experts, prior_3K[0], prior_3K[2], color=GRID, linewidth=1.8 * width)
    axes.vlines(experts, range_3K[0], range_3K[2], color=ABOVE, linewidth=0.7 * width)
    axes.plot(experts, range_3K[1], "_", color=INK, markersize=max(2.0, 1.2 * width), markeredgewidth=1.2)
    axes.axhline(1 / len(experts), color=FAINT, linewidth=0.6)
    axes.set_xlim(-0.8, len(experts) - 0.2)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="y", nbins=4)
    axes.locator_params(axis="x", nbins=12, integer=True)


def _in_words(group: GroupRouting, median_K: NDArray[np.float64]) -> str:
    lowest, highest = int(np.nanargmin(median_K)), int(np.nanargmax(median_K))
    return (
        f"Layer {group.layer}, {group.kind}: medians from {median_K[lowest]:.3g} (expert {lowest}) to "
        f"{median_K[highest]:.3g} (expert {highest})."
    )
