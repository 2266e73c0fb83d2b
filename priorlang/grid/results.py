"""What came out: the metrics of each finished cell, read from its run folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from priorlang.diagnostics.finding import PriorError
from priorlang.grid.plan import Metric
from priorlang.routing.run import RunRouting, read_run_routing
from priorlang.routing.statistics import ks_distance, score_spread

ROUTING = "routing."
ROUTING_NAMES = ("routing.load_cov", "routing.ks", "routing.spread")
"""What is measured of routing; a layer may follow the first."""


def cell_values(run: Path, metrics: Sequence[Metric], stages: Sequence[str]) -> dict[str, float | None]:
    """Each metric of a run; None where the run has none of that name, as the load of a dense model.

    Args:
        run: the run folder of a finished cell.
        metrics: what is asked for.
        stages: the names of its stages in order.
    """
    found: dict[str, float | None] = {}
    for metric in metrics:
        stage = metric.stage or stages[-1]
        if metric.metric.startswith(ROUTING):
            found[metric.name] = _routing_value(run / "stages" / stage, metric.metric.removeprefix(ROUTING))
        else:
            found[metric.name] = _last(run, stage, metric.metric)
    return found


def keys_of(run: Path, stage: str) -> set[str]:
    """What metrics.jsonl has numbers of for a stage."""
    rows = (row for row in _rows(run) if row.get("stage") == stage)
    return {key for row in rows for key, value in row.items() if isinstance(value, int | float)}


def _last(run: Path, stage: str, name: str) -> float | None:
    """The last value of a metric within a stage."""
    value: float | None = None
    for row in _rows(run):
        if row.get("stage") == stage and isinstance(row.get(name), int | float):
            value = float(row[name])
    return value


def _rows(run: Path) -> Iterator[dict[str, Any]]:
    file = run / "metrics.jsonl"
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def _routing_value(stage: Path, name: str) -> float | None:
    """A number of the routing at the end of a stage, of its held-out tokens or, without any, of tokens it was trained on.

    `load_cov`: the coefficient of variation of the experts' load over all tokens of a layer, its mean over layers;
    `load_cov.3`: of decoder layer 3. `ks`: the largest KS distance over experts to the cell's own prior, its mean over
    the layers and kinds of tokens that the prior shapes. `spread`: the 90th minus the 10th percentile of a score,
    mean over experts and groups.
    """
    routing = _read(stage)
    if routing is None:
        return None
    kind, _, layer = name.partition(".")
    match kind:
        case "load_cov":
            cov_L = load_cov(routing)
            if not layer:
                return _number(float(cov_L.mean()))
            by_layer = dict(zip(map(str, routing.statistics.layer.tolist()), cov_L.tolist(), strict=True))
            return _number(by_layer.get(layer, math.nan))
        case "ks":
            ks_G = ks_distance(routing.statistics, routing.table).max(axis=1)
            return _number(float(ks_G[np.isfinite(ks_G)].mean())) if np.isfinite(ks_G).any() else None
        case "spread":
            spread_GK = score_spread(routing.statistics)
            return _number(float(np.nanmean(spread_GK))) if np.isfinite(spread_GK).any() else None
        case _:
            return None


def load_cov(routing: RunRouting) -> NDArray[np.float64]:
    """[L], the coefficient of variation of the top-k slots that each expert took, over all measured tokens."""
    statistics = routing.statistics
    load_LK = np.zeros((len(statistics.layer), statistics.load.shape[1]))
    np.add.at(load_LK, statistics.group_layer, statistics.load)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(load_LK.std(axis=1) / load_LK.mean(axis=1), np.float64)


@lru_cache(maxsize=4)
def _read(stage: Path) -> RunRouting | None:
    if not (stage / "routing.safetensors").is_file():
        return None
    try:
        return read_run_routing(stage)
    except PriorError:
        return None


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
