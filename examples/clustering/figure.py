"""Figure 5: which cluster each point is given, without and with the prior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from accuracy import accuracy, named_clusters
from mixtures import MIXTURES
from protocol import BASELINE, TUNED, Study

from priorlang.pages.figure import FAINT, GRID, INK, expert_colours
from priorlang.pages.picture import Drawing, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT = 4.6
_SPACING = {"left": 0.06, "right": 1.0, "bottom": 0.01, "top": 0.96, "wspace": 0.06, "hspace": 0.2}


def assignment_picture(studies: Sequence[Study], seeds: Sequence[int]) -> bytes:
    """A PNG with a line of panels for each mixture, for the seed whose gain is the median one."""
    by_mixture = {
        mixture.name: [study for study in studies if study.mixture is mixture] for mixture in MIXTURES
    }
    chosen = {name: _median_seed(group) for name, group in by_mixture.items()}

    def paint(figure: Figure) -> None:
        columns = 1 + 2 * len(next(iter(by_mixture.values())))
        panels = figure.subplots(len(by_mixture), columns, squeeze=False, gridspec_kw=_SPACING)
        for line, (name, group) in zip(panels, by_mixture.items(), strict=True):
            _paint_line(line, group, chosen[name])
            line[0].set_ylabel(f"{name}\nseed {seeds[chosen[name]]}", color=INK, fontsize=8)

    drawing = Drawing(
        _HEIGHT,
        paint,
        name="clusters",
        title="Clusters without and with the Dirichlet prior",
        description="Three data sets, their true clusters and those that SwAV and SeCu find.",
        caption="Colours are the clusters, named as the true ones they match best; points in a wrong one are dark rings. "
        "Per cent are right. Of each data set the seed is shown whose gain, over both methods, is the median of all "
        f"{len(seeds)}. Prior: {TUNED.name}.",
    )
    return picture("Prior-guided clustering (after the paper’s Figure 5)", [], [drawing])


def _median_seed(group: Sequence[Study]) -> int:
    """Place of the seed with the median gain over both methods."""
    gain_S = np.mean(
        [_accuracy(study, TUNED.name) - _accuracy(study, BASELINE.name) for study in group], axis=0
    )
    return int(np.argsort(gain_S, kind="stable")[(len(gain_S) - 1) // 2])


def _accuracy(study: Study, row: str) -> np.ndarray:
    return accuracy(study.clusters[row].numpy(), study.samples.labels_SN)


def _paint_line(panels: Sequence[Axes], group: Sequence[Study], seed: int) -> None:
    samples = group[0].samples
    points_N2, labels_N = samples.points_SN2[seed].numpy(), samples.labels_SN[seed]
    _paint(panels[0], points_N2, labels_N, labels_N, "truth")
    shown = [(study, row) for study in group for row in (BASELINE.name, TUNED.name)]
    for axes, (study, row) in zip(panels[1:], shown, strict=True):
        clusters_SN = named_clusters(study.clusters[row].numpy(), samples.labels_SN)
        right = 100 * (clusters_SN[seed] == labels_N).mean()
        added = " + prior" if row == TUNED.name else ""
        _paint(axes, points_N2, clusters_SN[seed], labels_N, f"{study.method}{added}  {right:.0f} %")


def _paint(
    axes: Axes, points_N2: np.ndarray, clusters_N: np.ndarray, labels_N: np.ndarray, title: str
) -> None:
    colours_N = np.array(expert_colours(3))[clusters_N]
    wrong_N = clusters_N != labels_N
    x_N, y_N = points_N2.T
    axes.scatter(x_N[~wrong_N], y_N[~wrong_N], s=2.5, c=colours_N[~wrong_N], linewidths=0, alpha=0.7)
    axes.scatter(x_N[wrong_N], y_N[wrong_N], s=5, c=colours_N[wrong_N], edgecolors=INK, linewidths=0.4)
    axes.set_title(title, fontsize=7.5, color=FAINT if title == "truth" else INK, pad=3)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in ("left", "bottom", "right", "top"):
        axes.spines[side].set_visible(True)
        axes.spines[side].set_color(GRID)
