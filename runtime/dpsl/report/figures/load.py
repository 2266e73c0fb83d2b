"""Which experts took the top-k slots: a heat map of layers by experts for each kind of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dpsl.report.routing import GroupRouting
from priorlang.pages.figure import INK, draw
from priorlang.pages.heat import heat, label_heat

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_KINDS = 3
ALL = "all tokens"


def load_figure(
    groups: Sequence[GroupRouting], load_LK: NDArray[np.float64], layers: Sequence[int], name: str
) -> str:
    """Each expert's fraction of the top-k slots: of all tokens, and of the kinds with most tokens.

    Args:
        groups: the stage's groups.
        load_LK: load of all tokens, a layer a row.
        layers: decoder-layer index of each row.
        name: unique in the page.
    """
    panels = _panels(groups, load_LK, layers)
    experts = load_LK.shape[1]
    row = 0.24 if len(layers) <= 12 else max(0.07, 2.9 / len(layers))
    height = row * len(layers) + 0.75

    def paint(figure: Figure) -> None:
        slot = 0.93 / len(panels)
        for place, (kind, values_LK) in enumerate(panels):
            box = (0.06 + slot * place, 0.42 / height, slot - 0.02, row * len(layers) / height)
            axes = figure.add_axes(box)
            heat(axes, values_LK)
            axes.set_title(kind, loc="left", color=INK, fontweight="bold")
            label_heat(axes, [str(layer) for layer in layers], experts, first=place == 0)

    return draw(
        height,
        paint,
        name=name,
        title="Load of each expert, by layer and kind of tokens",
        description=f"An even share is {100 / experts:.3g} %. "
        + " ".join(_in_words(*panel) for panel in panels),
    )


def _panels(
    groups: Sequence[GroupRouting], load_LK: NDArray[np.float64], layers: Sequence[int]
) -> list[tuple[str, NDArray[np.float64]]]:
    """All tokens, and the kinds with most tokens where there is more than one."""
    tokens: dict[str, int] = {}
    for group in groups:
        tokens[group.kind] = tokens.get(group.kind, 0) + group.tokens
    shown = sorted(tokens, key=lambda kind: -tokens[kind])[:MOST_KINDS]
    panels = [(ALL, load_LK)]
    for kind in [kind for kind in tokens if kind in shown and len(tokens) > 1]:
        values_LK = np.full_like(load_LK, np.nan)
        for group in groups:
            if group.kind == kind:
                values_LK[list(layers).index(group.layer)] = group.loads
        panels.append((kind, values_LK))
    return panels


def _in_words(kind: str, load_LK: NDArray[np.float64]) -> str:
    if not np.isfinite(load_LK).any():
        return f"{kind}: no tokens."
    return f"{kind}: from {100 * np.nanmin(load_LK):.0f} % to {100 * np.nanmax(load_LK):.0f} %."
