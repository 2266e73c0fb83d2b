"""The chapters of a comparison: what was read and computed → HTML."""

from __future__ import annotations

import math

from dpsl.report.comparison.numbers import (
    learning_curves,
    load_by_layer,
    measured_stages,
    score_edges,
    scored_experts,
    scored_layer,
    scores_in_layer,
    share_beyond,
)
from dpsl.report.comparison.read import DONE, GridRecord, MetricRecord, VariantRecord
from dpsl.report.comparison.samples import by_layer_table, samples_parts
from dpsl.report.comparison.words import trained_on
from dpsl.report.figures.by_layer import by_layer_figure
from dpsl.report.figures.compared_scores import MOST_EXPERTS, compared_scores_figure
from dpsl.report.figures.forest import ForestRow, forest_figure
from dpsl.report.figures.learning import learning_figure
from dpsl.report.words import tokens_of
from priorlang.grid.digits import WINS, decimals, summary_text
from priorlang.grid.paired import Paired
from priorlang.pages.figure import evenly_spaced, identifiers
from priorlang.pages.html import MISSING, Markup, bullets, element, figure, folded, joined, section, table

_FOREST = (
    "Diamonds are means of the differences, bars the {confidence:.0%} intervals of Student's t, small circles single seeds. Blue bars miss "
    "zero, grey ones do not. Rows are in the order of the grid file. An arrow means that the interval goes on beyond the axis."
)


def means_part(grid: GridRecord) -> Markup | None:
    """Mean and spread of every variant; None before anything is done."""
    rows = []
    digits = {metric.name: _digits(grid, metric) for metric in grid.metrics}
    for variant in grid.variants:
        n = max((found.n for found in variant.summary.values() if found), default=0)
        numbers = [summary_text(variant.summary[m.name], n, digits[m.name]) for m in grid.metrics]
        rows.append([variant.name, str(n), *numbers])
    caption = (
        "Mean ± standard deviation over seeds, of the cells that are done. A number in brackets is the number of seeds, where it is "
        "not that of the row. No row is set apart."
    )
    about = [f"{variant.name}: {variant.about}" for variant in grid.variants if variant.about]
    shown = table(["variant", "n", *(metric.title for metric in grid.metrics)], rows, caption=caption)
    return section("Results", shown, bullets(about)) if rows else None


def differences_part(grid: GridRecord) -> Markup | None:
    """Each variant minus the reference on the same seed: a forest plot and its numbers for each metric."""
    keys = identifiers(metric.name for metric in grid.metrics)
    parts = [_difference(grid, m, key) for m, key in zip(grid.metrics, keys, strict=True) if m.paired]
    found = [part for part in parts if part is not None]
    explained = element("p", _FOREST.format(confidence=grid.confidence), class_="faint")
    return section(f"Minus {grid.reference}, on the same seed", explained, *found) if found else None


def routing_part(grid: GridRecord) -> Markup | None:
    """Loads and scores of the variants whose routing was measured; None where none was."""
    covs, layer = load_by_layer(grid), scored_layer(grid)
    if not covs or layer is None:
        return None
    experts = scored_experts(grid)
    shown = evenly_spaced(experts, MOST_EXPERTS)
    edges = score_edges(grid, layer, shown)
    scores = scores_in_layer(grid, layer, edges)
    seen = [cov.variant for cov in covs]
    unmeasured = [variant.name for variant in grid.variants if variant.runs and variant.name not in seen]
    beyond = share_beyond(scores, edges, shown) if scores else 0.0
    wide = beyond >= 0.0005
    capped = f" Up to {beyond:.1%} of a variant's scores of an expert lie beyond the axis." if wide else ""
    other = [name for name in seen if name not in {found.variant for found in scores}]
    capped += f" Left out, having other experts or layers: {', '.join(other)}." if other else ""
    capped += f" Of {experts} experts, {MOST_EXPERTS} are shown." if experts > MOST_EXPERTS else ""
    return section(
        f"Routing of {tokens_of(measured_stages(grid))} after {grid.routing_stage or 'the last stage'}",
        element("p", told) if (told := trained_on(grid)) else None,
        element("p", f"Not measured: {', '.join(unmeasured)}.") if unmeasured else None,
        figure(
            by_layer_figure(
                covs,
                title="Load CoV, by variant and layer",
                name="load-by-layer",
            ),
            "Standard deviation of the experts' load over its mean in each layer, 0 where all are used alike; mean over seeds. Even load is "
            "what a load-balancing loss asks for, and no aim of an asymmetric prior.",
        ),
        folded(
            "With the spread over seeds",
            by_layer_table(covs, "Load CoV, mean ± standard deviation over seeds."),
        ),
        figure(
            compared_scores_figure(scores, edges, layer, "compared-scores"),
            f"Density of the routing score p of each expert in layer {layer}, over all tokens: filled the mean over seeds, thin lines single seeds. "
            "The solid line is what the prior asks for, the Beta marginals of the tokens' populations, where it shaped the stage. The upright line is "
            f"1/K. All panels share both scales; where anything goes beyond the top, the arrow gives the height of the highest seed's peak.{capped}",
        ),
        *samples_parts(grid, layer),
    )


def learning_part(grid: GridRecord) -> Markup | None:
    """Training loss; None where no cell is done."""
    drawn = learning_figure(learning_curves(grid), grid.reference, "learning")
    if drawn is None:
        return None
    skipped = f" Stages that all seeds share ({', '.join(grid.once)}) are left out." if grid.once else ""
    return section(
        "Training loss",
        figure(
            drawn,
            f"As it was logged, a thin line for each seed; the thick grey line is the mean of {grid.reference}. Terms that variants add to it are not in "
            f"it. Training loss is not held-out loss.{skipped}",
        ),
    )


def search_part(grid: GridRecord) -> Markup | None:
    """Every setting that was tried; None where nothing was searched."""
    if grid.search is None and not any(variant.search for variant in grid.variants):
        return None
    search = grid.search or {}
    rows = [_search_row(variant) for variant in grid.variants]
    told = (
        f"Every method with a parameter tried {search['settings']} values of one, on seed {', '.join(map(str, search['seeds']))}; the best "
        f"{search['metric']} there was taken."
        if search
        else ""
    )
    caption = f"{told} Rows without a parameter have none to choose.".strip()
    return section(
        "What was searched", table(["variant", "parameter", "tried", "taken"], rows, caption=caption, texts=4)
    )


def cells_part(grid: GridRecord) -> Markup | None:
    """Where every cell stands, and the errors of those that failed; None without cells."""
    if not grid.variants:
        return None
    states = {(name, cell.seed): cell.state for name, cell in grid.cells}
    rows = [
        [variant.name, *(states.get((variant.name, seed), MISSING) for seed in grid.seeds)]
        for variant in grid.variants
    ]
    failed = [f"{name}, seed {cell.seed}: {cell.error}" for name, cell in grid.cells if cell.error]
    missing = any(cell.state != DONE for _, cell in grid.cells)
    shown = table(["variant", *(f"seed {seed}" for seed in grid.seeds)], rows)
    return section(
        "Cells",
        joined([element("p", "Failed:"), bullets(failed)]) if failed else None,
        shown if missing else folded(f"All {len(grid.cells)} are done", shown),
    )


def given_part(grid: GridRecord) -> Markup | None:
    """What the numbers do not say, and the grid file."""
    return joined(
        [
            section("What the numbers do not say", bullets(grid.notes)) if grid.notes else None,
            section("The grid file", folded("As it was last run", element("pre", grid.grid_text)))
            if grid.grid_text
            else None,
        ]
    )


def _difference(grid: GridRecord, metric: MetricRecord, key: str) -> Markup | None:
    rows = [
        ForestRow(variant.name, found, _by_seed(grid, variant, metric.name))
        for variant in grid.variants
        if variant.name != grid.reference
        and (found := variant.difference.get(metric.name)) is not None
        and math.isfinite(found.mean)
    ]
    drawn = {grid.reference, *(row.variant for row in rows)}
    absent = [variant.name for variant in grid.variants if variant.name not in drawn]
    if not rows:
        return None
    digits = decimals([row.found.se or abs(row.found.mean) for row in rows])
    cells = [[row.variant, *_difference_cells(row.found, digits)] for row in rows]
    header = ["variant", "n", "difference ± SE", f"{grid.confidence:.0%} interval", "wins"]
    caption = f"{metric.title}: {WINS[metric.better]}." + (
        f" No value: {', '.join(absent)}." if absent else ""
    )
    return joined(
        [
            figure(
                forest_figure(rows, grid.reference, metric.title, metric.better, f"forest-{key}"), caption
            ),
            folded("The numbers", table(header, cells)),
        ]
    )


def _by_seed(grid: GridRecord, variant: VariantRecord, metric: str) -> tuple[float, ...]:
    """The differences of single seeds."""
    reference = next((v for v in grid.variants if v.name == grid.reference), None)
    known = {c.seed: c.values[metric] for c in reference.cells if metric in c.values} if reference else {}
    return tuple(
        cell.values[metric] - known[cell.seed]
        for cell in variant.cells
        if metric in cell.values and cell.seed in known
    )


def _difference_cells(found: Paired, digits: int) -> list[str]:
    wins = f"{found.wins} of {found.n}"
    if found.se is None or found.low is None or found.high is None:
        return [str(found.n), _signed(found.mean, digits), MISSING, wins]
    return [
        str(found.n),
        f"{_signed(found.mean, digits)} ± {found.se:.{digits}f}",
        f"{_signed(found.low, digits)} to {_signed(found.high, digits)}",
        wins,
    ]


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def _digits(grid: GridRecord, metric: MetricRecord) -> int:
    found = [summary for variant in grid.variants if (summary := variant.summary[metric.name])]
    spreads = [summary.sd for summary in found if summary.sd is not None]
    return decimals(spreads or [abs(summary.mean) / 100 for summary in found])


def _search_row(variant: VariantRecord) -> list[str]:
    if not variant.search:
        return [variant.name, MISSING, MISSING, MISSING]
    tried = variant.search["tried"]
    told = ", ".join(
        f"{t['value']}: {MISSING if t['mean'] is None else format(t['mean'], '.4f')}" for t in tried
    )
    best = variant.search["best"]
    return [
        variant.name,
        str(variant.search["path"]),
        told,
        MISSING if best is None else str(tried[best]["value"]),
    ]
