"""How two runs differ in their results: metrics at the end of each stage, loads, and how far priors were attained."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from priorlang.compare.regions import Vector
from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import whole_file
from priorlang.routing.run import read_run_routing
from priorlang.routing.statistics import ks_distance, load_share


@dataclass(frozen=True)
class MetricChange:
    """A metric at the end of a stage, in either run; None where a run lacks it."""

    stage: str
    metric: str
    before: float | None
    after: float | None


@dataclass(frozen=True)
class RoutingChange:
    """One kind of tokens in either run, over all layers; None where a run has none of them.

    Attributes:
        kind: which tokens, the name of their population without the layer.
        ks: the median over layers of the largest KS distance, over experts, to the run's own prior.
        load: each expert's fraction of the top-k slots.
    """

    kind: str
    ks: tuple[float | None, float | None]
    load: tuple[Vector | None, Vector | None]

    @property
    def load_words(self) -> str:
        """What became of the load; empty where there is nothing to compare."""
        old, new = self.load
        if old is None or new is None or len(old) != len(new):
            return ""
        moved = np.subtract(new, old)
        expert = int(np.argmax(np.abs(moved)))
        total = 0.5 * float(np.abs(moved).sum())
        return f"{100 * total:.1f} % of the load moved, most at expert {expert}: {old[expert]:.3f} → {new[expert]:.3f}"


@dataclass(frozen=True)
class RunComparison:
    """Everything measured in two runs, side by side; `remarks` say what could not be read."""

    metrics: tuple[MetricChange, ...]
    routing: tuple[RoutingChange, ...]
    remarks: tuple[str, ...] = ()

    @property
    def moved(self) -> tuple[MetricChange, ...]:
        """The metrics that are not the same in both."""
        return tuple(item for item in self.metrics if repr(item.before) != repr(item.after))


def compare_runs(before: Path, after: Path) -> RunComparison:
    """Every accuracy, loss and load metric at the end of each stage, and the routing at the end of the runs.

    Raises:
        PriorError: the metrics of a run cannot be read.
    """
    old, new = _last_metrics(before), _last_metrics(after)
    keys = sorted([*old, *(key for key in new if key not in old)], key=lambda key: "accuracy" not in key[1])
    metrics = tuple(MetricChange(*key, old.get(key), new.get(key)) for key in keys)
    (first, no_first), (second, no_second) = _routing_of(before), _routing_of(after)
    kinds = [*first, *(kind for kind in second if kind not in first)]
    nothing: tuple[float | None, Vector | None] = (None, None)
    pairs = [(kind, first.get(kind, nothing), second.get(kind, nothing)) for kind in kinds]
    routing = tuple(RoutingChange(kind, (a[0], b[0]), (a[1], b[1])) for kind, a, b in pairs)
    return RunComparison(metrics, routing, tuple(dict.fromkeys(why for why in (no_first, no_second) if why)))


def _routing_of(run: Path) -> tuple[dict[str, tuple[float | None, Vector | None]], str]:
    """The KS distance and the load of each kind of tokens; or nothing, and why not."""
    try:
        routing = read_run_routing(run)
    except PriorError as error:
        return {}, error.findings[0].message
    statistics = routing.statistics
    ks_G = ks_distance(statistics, routing.table).max(axis=1)
    load_GK = load_share(statistics)
    kinds = np.array([name.partition(" · ")[2] or "all tokens" for name in statistics.group_name])
    found: dict[str, tuple[float | None, Vector | None]] = {}
    for kind in dict.fromkeys(kinds.tolist()):
        here = (kinds == kind) & (statistics.tokens > 0)
        if here.any():
            ks = float(np.median(ks_G[here]))
            load_K = load_GK[here].mean(axis=0)
            found[kind] = (ks if np.isfinite(ks) else None, tuple(load_K.tolist()))
    return found, ""


_KEPT = ("loss", "dpsl", "load_cov", "load_max", "routing_entropy", "dead_fraction", "top1_score")


def _last_metrics(run: Path) -> dict[tuple[str, str], float]:
    last: dict[tuple[str, str], float] = {}
    file = run / "metrics.jsonl"
    if not file.is_file():
        return last
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}"
        raise PriorError(
            [Finding("unreadable-file", Severity.ERROR, message, whole_file(str(file)))]
        ) from None
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            # The line that a killed process was writing.
            continue
        if not isinstance(row, dict):
            continue
        for name, value in row.items():
            wanted = name in _KEPT or (name.startswith("eval_") and not name.endswith("_count"))
            if wanted and isinstance(value, int | float):
                last[str(row.get("stage", "")), name] = float(value)
    return last
