"""What is drawn of a stage's samples: tokens on the simplex of three experts, and how alike the experts are."""

from __future__ import annotations

from collections.abc import Sequence

from dpsl.report.figures.similarity import MOST_LAYERS as SIMILAR_LAYERS
from dpsl.report.figures.similarity import similarity_figure
from dpsl.report.figures.simplex import (
    LEAST_SHARE,
    MOST_POINTS,
    Triangle,
    on_triple,
    simplex_figure,
    triple_of,
)
from dpsl.report.routing import GroupRouting, MeasuredStage
from priorlang.pages.figure import evenly_spaced
from priorlang.pages.html import Markup, element, figure, fixed, folded, joined, table
from priorlang.routing.samples import RoutingSamples, mean_similarity

MOST_ROWS, MOST_KINDS = 3, 2
_NOT_KEPT = (
    "Single tokens were not kept for this stage, so there is no simplex, and its experts were not compared."
)
_NOT_COMPARED = "Experts of this kind cannot be run one by one, so they were not compared."


def samples_part(stage: MeasuredStage, key: str) -> Markup:
    """The simplex and the similarity of a stage; a sentence where its run kept neither. `key`: the stage, in names of figures."""
    samples = stage.record.samples
    if samples is None:
        return element("p", _NOT_KEPT, class_="faint")
    return joined([_simplex(stage, samples, key), _similarity(samples, key)])


def _simplex(stage: MeasuredStage, samples: RoutingSamples, key: str) -> Markup | None:
    experts = stage.statistics.load.shape[1]
    triple = triple_of(experts)
    rows, said = [], []
    sampled = sorted({stage.groups[group].layer for group in samples.group.tolist()})
    layers = [sampled[at] for at in evenly_spaced(len(sampled), MOST_ROWS)]
    kinds = _kinds(stage.groups)
    for layer in layers if len(triple) == 3 else ():
        panels = []
        for kind in kinds:
            group = next(
                (g for g, own in enumerate(stage.groups) if own.layer == layer and own.kind == kind), None
            )
            points_N3 = on_triple(samples.tokens_of(group), triple) if group is not None else None
            panels.append(Triangle(kind, points_N3=points_N3))
            alpha = stage.groups[group].alpha if group is not None else None
            if alpha is not None:
                panels.append(Triangle(f"prior, {kind}", alpha_3=alpha[list(triple)]))
            if points_N3 is not None and len(points_N3):
                mean = ", ".join(f"{value:.2f}" for value in points_N3.mean(0))
                said.append(
                    f"Layer {layer}, {kind}: mean ({mean}), standard deviation {points_N3.std(0).mean():.2f}."
                )
        rows.append((f"layer {layer}", panels))
    corners = f"{triple[0]} (left), {triple[1]} (right) and {triple[2]} (top)" if len(triple) == 3 else ""
    drawn = simplex_figure(
        rows,
        triple,
        experts,
        title=f"Tokens on the simplex of experts {', '.join(map(str, triple))}",
        description=" ".join(said),
        name=f"simplex-{key}",
    )
    divided = (
        ""
        if experts == 3
        else (
            " Their p is divided by its sum over the three, and so is the prior's: the three of a Dirichlet are a Dirichlet. Tokens with less than "
            f"{LEAST_SHARE:.1%} on all three are left out."
        )
    )
    capped = (
        f" The {MOST_KINDS} kinds with most tokens."
        if len({g.kind for g in stage.groups}) > MOST_KINDS
        else ""
    )
    caption = (
        f"Each point is one token, at most {MOST_POINTS} drawn at random; the corners are experts {corners}, the cross is an even share. "
        f"Beside them, the density that the prior asks for.{divided}{capped}"
    )
    return figure(drawn, caption, heading="h4")


def _kinds(groups: Sequence[GroupRouting]) -> list[str]:
    tokens: dict[str, int] = {}
    for group in groups:
        tokens[group.kind] = tokens.get(group.kind, 0) + group.tokens
    shown = sorted(tokens, key=lambda kind: -tokens[kind])[:MOST_KINDS]
    return [kind for kind in tokens if kind in shown]


def _similarity(samples: RoutingSamples, key: str) -> Markup | None:
    if not len(samples.layer):
        return element("p", _NOT_COMPARED, class_="faint")
    layers = samples.layer.tolist()
    rows = [
        [f"layer {layer}", fixed(mean_similarity(of))]
        for layer, of in zip(layers, samples.similarity, strict=True)
    ]
    capped = f" Of {len(layers)} layers, {SIMILAR_LAYERS} are drawn." if len(layers) > SIMILAR_LAYERS else ""
    return joined(
        [
            figure(
                similarity_figure(layers, samples.similarity, f"similarity-{key}"),
                f"Cosine between the outputs of two experts for the same token, its mean over {samples.compared:,} tokens that every expert was run on, "
                "whether or not they were routed to it: 1 where the experts do the same, 0 where they do unrelated things. The mean is over pairs of "
                f"different experts. Copies of one dense network begin at 1, or near it with noise. That they differ does not say that the model is better.{capped}",
                heading="h4",
            ),
            folded("The mean of every layer", table(["layer", "mean cosine"], rows))
            if len(layers) > SIMILAR_LAYERS
            else None,
        ]
    )
