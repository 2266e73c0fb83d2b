"""The comparison's chapters on single tokens and single experts: the simplex by variant, and how alike experts are."""

from __future__ import annotations

from collections.abc import Sequence

from dpsl.report.comparison.numbers import ByLayer, measured_stages, sampled_tokens, similarity_by_layer
from dpsl.report.comparison.read import GridRecord
from dpsl.report.figures.by_layer import by_layer_figure
from dpsl.report.figures.simplex import (
    LEAST_SHARE,
    MOST_POINTS,
    Triangle,
    on_triple,
    simplex_figure,
    triple_of,
)
from dpsl.report.words import tokens_of
from priorlang.pages.figure import shortened
from priorlang.pages.html import MISSING, Markup, element, figure, folded, table

_COLUMNS = 4


def samples_parts(grid: GridRecord, layer: int) -> list[Markup | None]:
    """Figures, or a sentence where no run kept samples."""
    similar = similarity_by_layer(grid)
    drawn = _simplex(grid, layer)
    if not similar and drawn is None:
        return [
            element(
                "p", "No cell kept samples of tokens, so there is no simplex, and experts were not compared."
            )
        ]
    return [
        drawn,
        figure(
            by_layer_figure(
                similar,
                title="Mean cosine between experts' outputs, by variant and layer",
                name="similarity",
                full=1.0,
            ),
            "Cosine between the outputs of two experts for the same tokens, on which all experts were run, mean over pairs of different experts "
            "and over seeds: 1 where they do the same, 0 where they do unrelated things. That experts differ does not say that the model is better.",
        ),
        folded(
            "Similarity with the spread over seeds",
            by_layer_table(similar, "Mean cosine, mean ± standard deviation over seeds."),
        )
        if similar
        else None,
    ]


def by_layer_table(found: Sequence[ByLayer], caption: str) -> Markup | None:
    """Variants by layers, mean and spread over seeds."""
    layers = max((row.layers for row in found), key=len)
    rows = [
        [
            row.variant,
            *(row.text(row.layers.index(layer)) if layer in row.layers else MISSING for layer in layers),
        ]
        for row in found
    ]
    return table(["variant", *(f"layer {layer}" for layer in layers)], rows, caption=caption)


def _simplex(grid: GridRecord, layer: int) -> Markup | None:
    panels, said, experts = [], [], 0
    for variant in grid.variants:
        p_NK = sampled_tokens(grid, variant, layer, MOST_POINTS)
        if p_NK is None or (experts and p_NK.shape[1] != experts):
            continue
        experts = p_NK.shape[1]
        points_N3 = on_triple(p_NK, triple_of(experts))
        panels.append(Triangle(shortened(variant.name, 26), points_N3=points_N3))
        spread = float(points_N3.std(0).mean()) if len(points_N3) else float("nan")
        said.append(f"{variant.name}: standard deviation {spread:.2f}.")
    triple = triple_of(experts)
    rows = [("", panels[place : place + _COLUMNS]) for place in range(0, len(panels), _COLUMNS)]
    drawn = simplex_figure(
        rows,
        triple,
        experts,
        title=f"Tokens of layer {layer} on the simplex of experts {', '.join(map(str, triple))}, by variant",
        description=" ".join(said),
        name="simplex",
    )
    divided = (
        ""
        if experts == 3
        else f" Their p is divided by its sum over the three; tokens with less than {LEAST_SHARE:.1%} on them are left out."
    )
    return figure(
        drawn,
        f"Layer {layer}, the first seed. Each point is one {tokens_of(measured_stages(grid)).removesuffix('s')}, at most {MOST_POINTS} drawn at random; the corners are experts "
        f"{' (left), '.join(map(str, triple[:2]))} (right) and {triple[-1]} (top), the cross is an even share.{divided}"
        if len(triple) == 3
        else "",
    )
