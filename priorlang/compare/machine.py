"""A difference for programs: the document that `diff --format json` prints."""

from __future__ import annotations

import math
from typing import Any

from priorlang.compare.difference import Difference
from priorlang.compare.regions import Region, Vector
from priorlang.compare.runs import RunComparison


def difference_json(difference: Difference, runs: RunComparison | None) -> dict[str, Any]:
    """The document. See ../../docs/diff.md."""
    rules, expectations = difference.rules, difference.expectations
    document: dict[str, Any] = {
        "identical": difference.identical,
        "declarations": [
            {
                "kind": item.kind,
                "name": item.name,
                "before": item.before,
                "after": item.after,
                "added": list(item.added),
                "removed": list(item.removed),
            }
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
        "expectations": {"added": list(expectations.added), "removed": list(expectations.removed)},
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
            for item in runs.metrics
        ]
        document["routing"] = [
            {
                "tokens": item.kind,
                "ks": {"before": item.ks[0], "after": item.ks[1]},
                "load": {"before": _list(item.load[0]), "after": _list(item.load[1])},
            }
            for item in runs.routing
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
        "populations": {"before": region.populations[0], "after": region.populations[1]},
        "regrouped": region.regrouped,
        "kl": region.kl,
        "mean_shift": _list(region.mean_shift),
        "load_shift": _list(region.load_shift),
    }


def _finite(value: float | None) -> float | None:
    """JSON has no NaN: a loss that is none becomes null."""
    return value if value is not None and math.isfinite(value) else None


def _list(values: Vector | None) -> list[float] | None:
    return None if values is None else list(values)
