"""A number of each variant and layer: a heat map with its numbers (the paper's Table 12 is one)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dpsl.report.comparison.numbers import ByLayer
from priorlang.pages.figure import FAINT, INK, draw, label_width, shortened
from priorlang.pages.heat import ramp

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW = 0.24
_MOST_NUMBERS = 12
"""Layers up to which cells carry their numbers."""
_LETTERS = 30


def by_layer_figure(
    found: Sequence[ByLayer], *, title: str, name: str, full: float | None = None
) -> str | None:
    """Means over seeds, a variant a row, a layer a column. None without any.

    Args:
        found: the variants.
        title: of the figure.
        name: unique in the page.
        full: the value of full colour; None: the highest.
    """
    if not found:
        return None
    layers = max((row.layers for row in found), key=len)
    mean_VL = np.full((len(found), len(layers)), np.nan)
    for place, row in enumerate(found):
        for layer, value in zip(row.layers, row.mean_by_layer, strict=True):
            mean_VL[place, layers.index(layer)] = value
    if full is None:
        full = float(np.nanmax(mean_VL)) if np.isfinite(mean_VL).any() else 1.0
    shades_VL = ramp(mean_VL / max(full, 1e-12))
    names = [shortened(row.variant, _LETTERS) for row in found]
    left = label_width(names, 7.0)
    height = 0.5 + _ROW * len(found)

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((left, 0.42 / height, 0.98 - left, _ROW * len(found) / height))
        axes.imshow(shades_VL, aspect="auto", interpolation="none")
        if len(layers) <= _MOST_NUMBERS:
            for variant, layer in np.argwhere(np.isfinite(mean_VL)):
                text = f"{mean_VL[variant, layer]:.2f}"
                axes.text(layer, variant, text, ha="center", va="center", fontsize=7, color=INK)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.tick_params(length=0)
        shown = range(0, len(layers), math.ceil(len(layers) / _MOST_NUMBERS))
        axes.set_xticks(shown, [str(layers[place]) for place in shown])
        axes.set_yticks(range(len(found)), names, color=INK)
        axes.set_xlabel("decoder layer", color=FAINT)

    said = [
        f"{row.variant}: "
        + ", ".join(
            f"layer {layer} {value:.2f}" for layer, value in zip(row.layers, row.mean_by_layer, strict=True)
        )
        for row in found
    ]
    return draw(
        height,
        paint,
        name=name,
        title=title,
        description=f"Full colour is {full:.3g}. " + ". ".join(said) + ".",
    )
