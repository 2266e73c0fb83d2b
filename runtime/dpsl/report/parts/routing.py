"""The page's chapter on routing: over the steps, and of held-out or training tokens after each stage."""

from __future__ import annotations

from collections.abc import Sequence

from dpsl.report.figures.load import MOST_KINDS, load_figure
from dpsl.report.figures.score_ranges import score_range_figure
from dpsl.report.figures.scores import MOST_KINDS as MOST_ROWS
from dpsl.report.figures.scores import ScoreChoice, choose_panels, score_figure
from dpsl.report.figures.training import routing_figure
from dpsl.report.parts.samples import samples_part
from dpsl.report.read import StageRecord
from dpsl.report.routing import GroupRouting, KindRouting, MeasuredStage, kind_routing
from dpsl.report.words import ATTAINED, KS_MEANING, SAME_MASS, TRAINED_ON, experts_of, tokens_of
from priorlang.pages.figure import identifiers
from priorlang.pages.html import MISSING, Markup, element, figure, fixed, folded, joined, section, table
from priorlang.routing.statistics import RoutingStatistics

_OVER_STEPS = (
    "Over training tokens. Blue: all layers together; grey: each layer. The shaping loss is the sum over layers of weight "
    "times loss, near 0 where scores are spread as asked. Load CoV is the standard deviation of the experts' load over its mean, 0 where "
    "all are used alike. A mean top-1 score near 1/K is a router that does not choose. Shaded: shaped."
)


def routing_part(stages: Sequence[StageRecord], measured: Sequence[MeasuredStage]) -> Markup | None:
    """None for a run without anything to show.

    Args:
        stages: all of the run.
        measured: those whose routing was.
    """
    over_steps = figure(routing_figure(stages), _OVER_STEPS)
    if not measured and over_steps is None:
        return None
    keys = identifiers(stage.name for stage in measured)
    return section(
        "Routing",
        element("p", ATTAINED) if measured else None,
        _summary(measured),
        over_steps,
        *(_stage_part(stage, key) for stage, key in zip(measured, keys, strict=True)),
    )


def _summary(measured: Sequence[MeasuredStage]) -> Markup | None:
    rows = [_summary_row(stage, kind) for stage in measured for kind in kind_routing(stage.groups)]
    header = [
        "after stage", "tokens of", "tokens", "mass asked", "mass attained", "largest KS", "median KS", "spread", "load CoV",
    ]  # fmt: skip
    caption = (
        f"Routing of {tokens_of(stage.record for stage in measured)}, over all layers.{_trained_on(measured)} Mass: mean probability of the preferred experts together, those whose α is above the mean. "
        f"{KS_MEANING} The largest is over experts and layers; the median is over layers of the largest over experts. Spread: 90th minus "
        "10th percentile of the scores, near 0 where the router treats all tokens alike. Load CoV: of all tokens, mean over layers."
    )
    return joined(
        [
            table(header, rows, caption=caption, texts=2),
            element("p", SAME_MASS, class_="faint") if rows else None,
        ]
    )


def _trained_on(measured: Sequence[MeasuredStage]) -> str:
    """Where tokens are not held out, as a sentence after another."""
    names = ", ".join(stage.name for stage in measured if stage.record.held_out is False)
    return f" After {names}: {TRAINED_ON}." if names else ""


def _summary_row(stage: MeasuredStage, kind: KindRouting) -> list[str]:
    return [
        stage.name,
        kind.kind,
        f"{kind.tokens:,}",
        fixed(kind.asked, 3),
        fixed(kind.attained, 3),
        fixed(kind.ks),
        fixed(kind.ks_median),
        fixed(kind.spread, 3),
        fixed(stage.load_cov),
    ]


def _stage_part(stage: MeasuredStage, key: str) -> Markup:
    statistics, groups = stage.statistics, stage.groups
    choice = choose_panels(statistics, groups)
    loads = load_figure(groups, stage.layer_loads, statistics.layer.tolist(), f"load-{key}")
    scores = score_figure(statistics, groups, choice, f"scores-{key}")
    return joined(
        [
            element("h3", f"After {stage.name} ({experts_of(stage.record)})"),
            figure(loads, _load_caption(groups, stage.layer_loads.shape[1]), "h4"),
            figure(scores, _score_caption(statistics, groups, choice), "h4"),
            _ranges(statistics, groups, choice, key),
            samples_part(stage, key),
            folded(f"Every layer after {stage.name}", _every_layer(groups)),
        ]
    )


def _ranges(
    statistics: RoutingStatistics, groups: tuple[GroupRouting, ...], choice: ScoreChoice, key: str
) -> Markup | None:
    """Every expert of the last layer drawn, where not all have panels."""
    if len(choice.experts) == statistics.load.shape[1]:
        return None
    last = [group for group in choice.groups if groups[group].layer == choice.layers[-1]]
    return figure(
        score_range_figure(statistics, groups, last, f"ranges-{key}"),
        f"Every expert of layer {choice.layers[-1]}: the blue bar reaches from the 10th to the 90th percentile of p, the tick is its median; the "
        "wide grey bar is what the prior asks for. The thin line is 1/K.",
        heading="h4",
    )


def _load_caption(groups: tuple[GroupRouting, ...], experts: int) -> str:
    kinds = len({group.kind for group in groups})
    capped = f" The {MOST_KINDS} kinds with most tokens of {kinds} are shown." if kinds > MOST_KINDS else ""
    return (
        f"Percent of a layer's top-k slots that each expert took. An even share, 1/K = {100 / experts:.3g} %, is clear; blue is "
        f"more, orange less, in full colour from twice that share, or none.{capped}"
    )


def _score_caption(
    statistics: RoutingStatistics, groups: tuple[GroupRouting, ...], choice: ScoreChoice
) -> str:
    experts = statistics.load.shape[1]
    parts = [
        "Density of the routing score p of each expert; the horizontal axis is p, and all panels share both scales."
    ]
    if any(groups[group].alpha is not None for group in choice.groups):
        parts.append(
            "The line over the bars is the prior's Beta curve, cut off where it goes beyond the top."
        )
    else:
        parts.append("No prior is known for these tokens, so there is no curve to compare with.")
    parts.append("The upright line is 1/K. Where a bar is cut off at the top, the arrow gives its height.")
    if len(choice.layers) < len(statistics.layer):
        shown = ", ".join(str(layer) for layer in choice.layers)
        parts.append(f"Of {len(statistics.layer)} layers, {shown} are shown.")
    if len(choice.experts) < experts:
        parts.append(
            f"Of {experts} experts, {', '.join(str(expert) for expert in choice.experts)} are shown."
        )
    if any(sum(g.layer == layer and g.tokens > 0 for g in groups) > MOST_ROWS for layer in choice.layers):
        parts.append(f"Of each layer, the {MOST_ROWS} kinds with most tokens are shown.")
    return " ".join(parts)


def _every_layer(groups: tuple[GroupRouting, ...]) -> Markup | None:
    rows = [
        [
            f"layer {group.layer}",
            group.kind,
            f"{group.tokens:,}",
            _experts(group.preferred),
            fixed(group.asked, 3),
            fixed(group.attained, 3),
            fixed(group.ks),
            fixed(group.spread, 3),
            fixed(group.load_cov),
        ]
        for group in groups
    ]
    header = [
        "layer", "tokens of", "tokens", "preferred", "mass asked", "mass attained", "largest KS", "spread", "load CoV",
    ]  # fmt: skip
    return table(header, rows, texts=2, caption="Load CoV here is that of the row's own tokens.")


def _experts(preferred: tuple[int, ...]) -> str:
    """`0–3, 7`."""
    runs: list[list[int]] = []
    for expert in preferred:
        if runs and runs[-1][-1] == expert - 1:
            runs[-1].append(expert)
        else:
            runs.append([expert])
    return ", ".join(f"{r[0]}–{r[-1]}" if len(r) > 1 else str(r[0]) for r in runs) or MISSING
