"""The load that the prior alone implies: a heat map of layers by experts for each kind of tokens."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from priorlang.pages.figure import FAINT, INK, evenly_spaced
from priorlang.pages.heat import heat, label_heat
from priorlang.pages.picture import Drawing
from priorlang.preview.view import View
from priorlang.preview.words import shortened
from priorlang.table.dirichlet import top_k_load

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PANELS, MOST_LAYERS = 12, 48
_ACROSS = 4
_LEFT = 0.09


def load_drawing(view: View) -> Drawing | None:
    """Fraction of the top-k slots that each expert gets; None where all is unshaped."""
    if not view.priors:
        return None
    kinds = evenly_spaced(len(view.kinds), MOST_PANELS)
    layers = evenly_spaced(len(view.layers), MOST_LAYERS)
    load_MLK = load_of(view, layers, kinds)
    across = min(_ACROSS, len(kinds))
    down = -(-len(kinds) // across)
    row = 0.24 if len(layers) <= 12 else max(0.07, 2.9 / len(layers))
    titles = [_title(view.kinds[kind], 92 // across) for kind in kinds]
    head = 0.2 + 0.13 * max(title.count("\n") for title in titles)
    tall = row * len(layers) + 0.5 + head
    height = tall * down

    def paint(figure: Figure) -> None:
        slot = (0.99 - _LEFT) / across
        for panel in range(len(kinds)):
            line, column = divmod(panel, across)
            low = height - tall * line - head - row * len(layers)
            box = (_LEFT + slot * column, low / height, slot - 0.02, row * len(layers) / height)
            axes = figure.add_axes(box)
            heat(axes, load_MLK[panel])
            axes.set_title(titles[panel], loc="left", color=INK, fontweight="bold")
            names = [shortened(view.layers[layer], 11) for layer in layers]
            label_heat(axes, names, view.experts, first=column == 0)
            for place in (
                np.flatnonzero(np.isnan(load_MLK[panel, :, 0])).tolist() if len(layers) <= 16 else []
            ):
                middle = (view.experts - 1) / 2
                axes.text(middle, place, "unshaped", ha="center", va="center", fontsize=7, color=FAINT)

    return Drawing(
        height,
        paint,
        name="load",
        title="Load that the prior implies: percent of the top-k slots",
        description=f"An even share is {100 / view.experts:.3g} %. "
        + " ".join(_in_words(view.kinds[kind], load_MLK[panel]) for panel, kind in enumerate(kinds)),
        caption=_caption(view, len(layers), len(kinds)),
    )


def load_of(view: View, layers: list[int], kinds: list[int]) -> NDArray[np.float64]:
    """[kinds, layers, K], NaN where unshaped."""
    place_ML = view.prior[np.ix_(layers, kinds)].T
    load_MLK = np.full((*place_ML.shape, view.experts), np.nan)
    used = np.unique(place_ML[place_ML >= 0])
    loads = (
        top_k_load(np.stack([view.priors[place].alpha for place in used]), view.top_k) if len(used) else ()
    )
    for place, load_K in zip(used, loads, strict=True):
        load_MLK[place_ML == place] = load_K
    return load_MLK


def _caption(view: View, layers: int, kinds: int) -> str:
    words = [
        f"Fraction of the top-{view.top_k} slots of each expert if tokens are routed as the prior asks; an even share "
        f"is {100 / view.experts:.3g} %. Blue is more, orange less; full colour at twice the share and at nothing. "
        "Layers, and kinds of tokens, that ask for the same stand together."
    ]
    if view.unshaped:
        words.append("What is unshaped is left blank.")
    if kinds < len(view.kinds):
        words.append(f"{kinds} of {len(view.kinds)} kinds of tokens are shown; --at picks others.")
    if layers < len(view.layers):
        words.append(f"{layers} of {len(view.layers)} kinds of layers are shown.")
    return " ".join(words)


def _title(kind: str, letters: int) -> str:
    """Two lines at most."""
    lines = textwrap.wrap(kind, letters, break_on_hyphens=False)
    return "\n".join([lines[0], shortened(" ".join(lines[1:]), letters)] if len(lines) > 1 else lines)


def _in_words(kind: str, load_LK: NDArray[np.float64]) -> str:
    if not np.isfinite(load_LK).any():
        return f"{kind}: unshaped."
    return f"{kind}: from {100 * np.nanmin(load_LK):.0f} % to {100 * np.nanmax(load_LK):.0f} %."
