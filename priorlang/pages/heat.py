"""The heat map of loads: a row for each layer, a column for each expert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from priorlang.pages.figure import ABOVE, BELOW, FAINT, INK, evenly_spaced

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_NUMBERS = 8
"""Experts up to which the cells carry their numbers."""


def heat(axes: Axes, load_LK: NDArray[np.float64]) -> None:
    """Blue above an even share, orange below, clear at it: full colour at twice the share and at nothing.

    Args:
        axes: an empty panel.
        load_LK: fraction of the top-k slots, a layer a row; NaN where there is none.
    """
    experts = load_LK.shape[1]
    excess_LK = np.nan_to_num(load_LK * experts - 1.0).clip(-1.0, 1.0)
    colours = np.zeros((*load_LK.shape, 4), np.uint8)
    colours[..., :3] = np.where(excess_LK[..., None] > 0, _rgb(ABOVE), _rgb(BELOW))
    colours[..., 3] = np.round(np.abs(excess_LK) * 217)
    axes.imshow(colours, aspect="auto", interpolation="none")
    if experts <= _MOST_NUMBERS and len(load_LK) <= 16:
        for layer, expert in np.argwhere(np.isfinite(load_LK)):
            text = f"{100 * load_LK[layer, expert]:.0f}"
            axes.text(expert, layer, text, ha="center", va="center", fontsize=7, color=INK)


def ramp(value_RC: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours [R, C, 4] for values in [0, 1]: clear at 0, deep blue at 1; below 0 orange; NaN is clear."""
    value_RC = np.nan_to_num(value_RC).clip(-1.0, 1.0)
    colours = np.zeros((*value_RC.shape, 4), np.uint8)
    colours[..., :3] = np.where(value_RC[..., None] >= 0, _rgb(ABOVE), _rgb(BELOW))
    colours[..., 3] = np.round(np.abs(value_RC) * 217)
    return colours


def label_heat(axes: Axes, layers: Sequence[str], experts: int, *, first: bool) -> None:
    """Numbers of experts below, and layers beside the first panel."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    columns = evenly_spaced(experts, 8)
    axes.set_xticks(columns, [str(column) for column in columns])
    axes.set_xlabel("expert", color=FAINT)
    rows = evenly_spaced(len(layers), 12) if first else []
    axes.set_yticks(rows, [layers[row] for row in rows])
    if first:
        axes.set_ylabel("layer", color=FAINT)


def _rgb(colour: str) -> NDArray[np.uint8]:
    return np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)], np.uint8)
