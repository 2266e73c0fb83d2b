"""What a comparison says first: how far the grid is, and which intervals miss zero, in either direction."""

from __future__ import annotations

import math

from dpsl.report.comparison.numbers import measured_stage
from dpsl.report.comparison.read import DONE, FAILED, WAITING, GridRecord, MetricRecord
from dpsl.report.words import TRAINED_ON


def state_of(grid: GridRecord) -> str:
    """How many cells there are, and where they stand."""
    if not grid.variants:
        return "No cell of this grid has been reported yet. While settings are searched there is nothing to compare."
    total, done = len(grid.cells), grid.count(DONE)
    seeds = f"{len(grid.seeds)} seed{'s' if len(grid.seeds) != 1 else ''} ({', '.join(map(str, grid.seeds))})"
    variants = f"{len(grid.variants)} variant{'s' if len(grid.variants) != 1 else ''}"
    if done == total:
        return f"Finished: {variants} × {seeds}, all {total} cells done."
    rest = [f"{grid.count(state)} {state}" for state in (FAILED, WAITING) if grid.count(state)]
    return f"{done} of {total} cells done, {', '.join(rest)}: {variants} × {seeds}. Means and intervals are of the cells that are done."


def findings(grid: GridRecord) -> list[str]:
    """One sentence for each compared metric, and one for each variant that has cells missing."""
    return [
        *(sentence for metric in grid.metrics if metric.paired and (sentence := _metric(grid, metric))),
        *_chance(grid),
        *_missing(grid),
    ]


def trained_on(grid: GridRecord) -> str:
    """Of which variants the routing is that of training tokens; empty where all are held out."""
    found = {
        variant.name
        for variant in grid.variants
        for run in variant.runs
        if (stage := measured_stage(grid, run)) is not None and stage.held_out is False
    }
    if not found:
        return ""
    seen = [v.name for v in grid.variants if any(measured_stage(grid, run) for run in v.runs)]
    whose = "" if found == set(seen) else f" of {', '.join(name for name in seen if name in found)}"
    return f"The routing{whose} is that of {TRAINED_ON}."


def _metric(grid: GridRecord, metric: MetricRecord) -> str:
    found = [
        (variant.name, difference)
        for variant in grid.variants
        if (difference := variant.difference.get(metric.name)) is not None and math.isfinite(difference.mean)
    ]
    known = [(name, d.low, d.high) for name, d in found if d.low is not None and d.high is not None]
    if not found:
        return ""
    if not known:
        return f"{metric.title}: one seed, so there is no interval, and a difference shows nothing about the next seed."
    above = [name for name, low, _ in known if low > 0]
    below = [name for name, _, high in known if high < 0]
    if not above and not below:
        return f"{metric.title}: no {grid.confidence:.0%} interval of a difference to {grid.reference} misses zero ({len(known)} compared)."
    judged = {"higher": (" (better)", " (worse)"), "lower": (" (worse)", " (better)")}.get(
        metric.better or "", ("", "")
    )
    parts = [
        f"{'above' if names is above else 'below'} {grid.reference}{verdict}: {', '.join(names)}"
        for names, verdict in ((above, judged[0]), (below, judged[1]))
        if names
    ]
    return (
        f"{metric.title}: of {len(known)} intervals, {len(above) + len(below)} miss zero: {'; '.join(parts)}."
    )


def _chance(grid: GridRecord) -> list[str]:
    paired = [metric.name for metric in grid.metrics if metric.paired]
    found = [
        difference
        for variant in grid.variants
        for name in paired
        if (difference := variant.difference.get(name))
    ]
    count = sum(difference.low is not None for difference in found)
    expected = count * (1 - grid.confidence)
    told = f"These are {count} intervals: where nothing differed at all, about {expected:.1f} would miss zero by chance."
    return [told] if count > 1 else []


def _missing(grid: GridRecord) -> list[str]:
    sentences = []
    for variant in grid.variants:
        absent = [cell for cell in variant.cells if cell.state != DONE]
        if absent:
            told = ", ".join(f"seed {cell.seed} {cell.state}" for cell in absent)
            sentences.append(
                f"{variant.name} has {len(variant.cells) - len(absent)} of {len(variant.cells)} cells: {told}."
            )
    return sentences
