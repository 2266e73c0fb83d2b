"""A difference for people and for programs."""

from __future__ import annotations

import math
from typing import Any

from priorlang.compare.difference import Difference, Region
from priorlang.compare.runs import MetricChange

REGIONS_SHOWN = 12
METRICS_SHOWN = 24


def difference_json(difference: Difference, runs: tuple[MetricChange, ...] | None) -> dict[str, Any]:
    """The document that `diff --format json` prints."""
    rules = difference.rules
    document: dict[str, Any] = {
        "identical": difference.identical,
        "declarations": [
            {"kind": item.kind, "name": item.name, "before": item.before, "after": item.after}
            for item in difference.declarations
        ],
        "rules": {
            "added": [{"name": name, "text": text} for name, text in rules.added],
            "removed": [{"name": name, "text": text} for name, text in rules.removed],
            "changed": [
                {"name": item.name, "before": item.before, "after": item.after} for item in rules.changed
            ],
            "renamed": [{"before": before, "after": after} for before, after in rules.renamed],
        },
        "cells": {
            "total": difference.total_cells,
            "changed": difference.changed_cells,
            "regions": [_region_json(region) for region in difference.regions],
        },
    }
    if runs is not None:
        document["metrics"] = [
            {
                "stage": item.stage,
                "metric": item.metric,
                "before": _finite(item.before),
                "after": _finite(item.after),
            }
            for item in runs
        ]
    return document


def _region_json(region: Region) -> dict[str, Any]:
    return {
        "layers": region.layers,
        "classes": {name: list(members) for name, members in region.classes.items()},
        "cells": region.cells,
        "alpha": {"before": _list(region.alpha[0]), "after": _list(region.alpha[1])},
        "weight": {"before": region.weight[0], "after": region.weight[1]},
        "state": {"before": region.state[0], "after": region.state[1]},
        "regrouped": region.regrouped,
        "kl": region.kl,
        "mean_shift": _list(region.mean_shift),
    }


def difference_text(difference: Difference, runs: tuple[MetricChange, ...] | None) -> str:
    """A difference on a screen: the largest effects first, the rest counted."""
    lines = ["the priors ask for the same"] if difference.identical else []
    for item in difference.declarations:
        what = f"{item.kind} {item.name}".strip()
        lines.append(f"{what}: {item.before or '(none)'} → {item.after or '(none)'}")
    rules = difference.rules
    lines += [f"- rule {name}: {text}" for name, text in rules.removed]
    lines += [f"+ rule {name}: {text}" for name, text in rules.added]
    for change in rules.changed:
        lines += [f"~ rule {change.name}: {change.before}", f"{'':{len(change.name) + 5}}→ {change.after}"]
    lines += [f"= rule {before} is now called {after}" for before, after in rules.renamed]
    if difference.regions:
        lines.append(f"\n{difference.changed_cells} of {difference.total_cells} cells changed:")
        for region in difference.regions[:REGIONS_SHOWN]:
            lines += _region_lines(region)
        hidden = difference.regions[REGIONS_SHOWN:]
        if hidden:
            cells = sum(region.cells for region in hidden)
            lines.append(f"  … and {len(hidden)} smaller regions with {cells} cells")
    if runs is not None:
        lines += _metric_lines(runs)
    return "\n".join(lines)


def _region_lines(region: Region) -> list[str]:
    where = " and ".join(f"{name} {' | '.join(members)}" for name, members in region.classes.items())
    head = f"  layers {region.layers}" + (f", {where}" if where else "")
    lines = [head]
    if region.state != ("shaped", "shaped"):
        lines.append(f"    {_side(region, 0)} → {_side(region, 1)}")
        return lines
    if region.alpha[0] != region.alpha[1]:
        lines.append(f"    α {_alpha(region.alpha[0])} → {_alpha(region.alpha[1])}")
    if region.weight[0] != region.weight[1]:
        lines.append(f"    λ {region.weight[0]:g} → {region.weight[1]:g}")
    if region.regrouped:
        lines.append("    pooled into other populations")
    if region.kl:
        shift = " ".join(f"{value:+.3f}" for value in (region.mean_shift or ())[:16])
        lines.append(f"    KL {region.kl:.3g} nats, mean {shift}")
    return lines


def _side(region: Region, side: int) -> str:
    if region.state[side] != "shaped":
        return {"absent": "no such cell", "unshaped": "unshaped"}[region.state[side]]
    return f"α {_alpha(region.alpha[side])} λ {region.weight[side]:g}"


def _metric_lines(runs: tuple[MetricChange, ...]) -> list[str]:
    lines = ["\nat the end of each stage:"] if runs else ["\nneither run has metrics yet"]
    for item in runs[:METRICS_SHOWN]:
        lines.append(f"  {item.stage:<20} {item.metric:<28} {_number(item.before)} → {_number(item.after)}")
    if len(runs) > METRICS_SHOWN:
        lines.append(f"  … and {len(runs) - METRICS_SHOWN} more; --format json has them all")
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _finite(value: float | None) -> float | None:
    """JSON has no NaN: a loss that is none becomes null."""
    return value if value is not None and math.isfinite(value) else None


def _alpha(alpha: tuple[float, ...] | None) -> str:
    """α, with runs of equal values written once: `1.25×4 0.75×4`."""
    runs: list[tuple[float, int]] = []
    for value in alpha or ():
        if runs and runs[-1][0] == value:
            runs[-1] = (value, runs[-1][1] + 1)
        else:
            runs.append((value, 1))
    return " ".join(f"{value:g}×{count}" if count > 1 else f"{value:g}" for value, count in runs)


def _list(values: tuple[float, ...] | None) -> list[float] | None:
    return None if values is None else list(values)
