"""How alike experts' outputs are, layer by layer: the cosine, averaged over tokens (the paper's Figure 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from priorlang.pages.figure import FAINT, INK, WIDTH, draw, evenly_spaced
from priorlang.pages.heat import ramp
from priorlang.routing.samples import mean_similarity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LAYERS = 4
_MOST_NUMBERS = 6
"""Experts up to which cells carry their numbers."""
_LEFT = 0.42


def similarity_figure(layers: Sequence[int], similarity_MKK: NDArray[np.float32], name: str) -> str | None:
    """Heat maps of some layers, evenly spaced. None without any.

    Args:
        layers: decoder layers, in order.
        similarity_MKK: theirs.
        name: unique in the page.
    """
    if not len(layers):
        return None
    shown = evenly_spaced(len(layers), MOST_LAYERS)
    experts = similarity_MKK.shape[1]
    slot = min((WIDTH - _LEFT) / len(shown), 1.9)
    side = slot - 0.16
    height = side + 0.72

    def paint(figure: Figure) -> None:
        for column, place in enumerate(shown):
            box = ((_LEFT + slot * column) / WIDTH, 0.42 / height, side / WIDTH, side / height)
            axes = figure.add_axes(box)
            values_KK = similarity_MKK[place].astype(np.float64)
            axes.imshow(ramp(values_KK), aspect="auto", interpolation="none")
            if experts <= _MOST_NUMBERS:
                for one, other in np.ndindex(experts, experts):
                    axes.text(
                        other,
                        one,
                        f"{values_KK[one, other]:.2f}",
                        ha="center",
                        va="center",
                        fontsize=6.5,
                        color=INK,
                    )
            for spine in axes.spines.values():
                spine.set_visible(False)
            axes.tick_params(length=0)
            ticks = evenly_spaced(experts, 6)
            axes.set_xticks(ticks, [str(expert) for expert in ticks])
            axes.set_yticks(
                ticks if column == 0 else [], [str(expert) for expert in ticks] if column == 0 else []
            )
            axes.set_xlabel("expert", color=FAINT)
            if column == 0:
                axes.set_ylabel("expert", color=FAINT)
            axes.set_title(
                heading(layers[place], similarity_MKK[place]), loc="left", color=INK, fontweight="bold"
            )

    said = " ".join(f"{heading(layer, of)}." for layer, of in zip(layers, similarity_MKK, strict=True))
    return draw(height, paint, name=name, title="Cosine between experts' outputs, by layer", description=said)


def heading(layer: int, similarity_KK: NDArray[np.float32]) -> str:
    """The layer and its mean over pairs."""
    return f"layer {layer} · mean {mean_similarity(similarity_KK):.2f}"
