"""The load that the prior alone implies: a heat map of layers by experts for each kind of tokens."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
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
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS, MOST_LAYERS = 12, 48
_ACROSS = 4
_LEFT = 0.09
_MOST_MARKED = 16
"""Layers up to which unshaped ones say so."""


def load_drawings(view: View) -> list[Drawing]:
    """Fraction of the top-k slots that each expert gets, a line of panels to a drawing so that pages can break."""
    if not view.priors:
        return []
    layers = evenly_spaced(len(view.layers), MOST_LAYERS)
    panels = _panels(view, layers)
    across = min(_ACROSS, len(panels))
    lines = [panels[start : start + across] for start in range(0, len(panels), across)]
    names = [shortened(view.layers[layer], 11) for layer in layers]
    return [
        _drawing(
            line, names, across, f"load-{place}", _caption(view, len(layers)) if line is lines[-1] else ""
        )
        for place, line in enumerate(lines)
    ]


def _drawing(
    panels: Sequence[tuple[str, NDArray[np.float64]]],
    layers: Sequence[str],
    across: int,
    name: str,
    caption: str,
) -> Drawing:
    titles = [_title(kind, 92 // across) for kind, _ in panels]
    row = 0.24 if len(layers) <= 12 else max(0.07, 2.9 / len(layers))
    head = 0.2 + 0.13 * max(title.count("\n") for title in titles)
    height = row * len(layers) + 0.5 + head
    experts = panels[0][1].shape[1]

    def paint(figure: Figure) -> None:
        slot = (0.99 - _LEFT) / across
        for column, (_, load_LK) in enumerate(panels):
            box = (_LEFT + slot * column, 0.5 / height, slot - 0.02, row * len(layers) / height)
            axes = figure.add_axes(box)
            heat(axes, load_LK)
            axes.set_title(titles[column], loc="left", color=INK, fontweight="bold")
            label_heat(axes, layers, experts, first=column == 0)
            _mark_unshaped(axes, load_LK)

    return Drawing(
        height,
        paint,
        name=name,
        title="Load that the prior implies: percent of the top-k slots",
        description=f"An even share is {100 / experts:.3g}\u00a0%. "
        + " ".join(_in_words(kind, load_LK) for kind, load_LK in panels),
        caption=caption,
    )


def _panels(view: View, layers: list[int]) -> list[tuple[str, NDArray[np.float64]]]:
    """(title, load [layers, K]): of all tokens where their shares are known, and of each kind."""
    kinds = evenly_spaced(len(view.kinds), MOST_PANELS)
    panels = list(zip((view.kinds[kind] for kind in kinds), load_of(view, layers, kinds), strict=True))
    if view.shares is None or len(view.kinds) == 1:
        return panels
    return [("all tokens, by their shares", total_load(view, layers)), *panels]


def total_load(view: View, layers: list[int]) -> NDArray[np.float64]:
    """[layers, K], the load of all shaped tokens together; NaN where none is shaped."""
    assert view.shares is not None
    load_MLK = load_of(view, layers, list(range(len(view.kinds))))
    share_ML1 = np.where(np.isnan(load_MLK[..., :1]), 0.0, np.array(view.shares)[:, None, None])
    with np.errstate(invalid="ignore"):
        total_LK: NDArray[np.float64] = (share_ML1 * np.nan_to_num(load_MLK)).sum(0) / share_ML1.sum(0)
    return total_LK


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


def _mark_unshaped(axes: Axes, load_LK: NDArray[np.float64]) -> None:
    if len(load_LK) > _MOST_MARKED:
        return
    middle = (load_LK.shape[1] - 1) / 2
    for place in np.flatnonzero(np.isnan(load_LK[:, 0])).tolist():
        axes.text(middle, place, "unshaped", ha="center", va="center", fontsize=7, color=FAINT)


def _caption(view: View, layers: int) -> str:
    words = [
        f"Fraction of the top-{view.top_k} slots of each expert if tokens are routed as the prior asks; an even share "
        f"is {100 / view.experts:.3g}\u00a0%. Blue is more, orange less; full colour at twice the share and at nothing. "
        "Layers, and kinds of tokens, that ask for the same stand together."
    ]
    if view.unshaped:
        words.append("What is unshaped is left blank.")
    if view.shares_note:
        words.append(f"Token shares are those given{view.shares_note}.")
    if view.shares is None and len(view.kinds) > 1:
        words.append(
            "What all tokens together imply depends on how many there are of each kind: --shares says it."
        )
    if len(view.kinds) > MOST_PANELS:
        words.append(f"{MOST_PANELS} of {len(view.kinds)} kinds of tokens are shown; --at picks others.")
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
