"""Small grid folders, made by hand: results.json as `priorlang grid` writes it, and cells that are run folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from made_runs import follows, modality_prior, undecided, write_run

from dpsl.train.run_folder import write_json, write_text
from priorlang.grid.paired import compare, summarise
from priorlang.routing.statistics import RoutingStatistics
from priorlang.table.prior_table import PriorTable

STAGES: tuple[dict[str, Any], ...] = (
    {"name": "dense", "train": ["all"], "learning_rate": 2e-3},
    {"name": "moe", "moe": True, "shape": False, "learning_rate": 1e-3},
)
BETTER = {"eval_accuracy": "higher", "routing.load_cov": "lower", "spread": None}

Routing = Callable[..., RoutingStatistics]


def write_grid(
    folder: Path,
    values: Mapping[str, Mapping[int, Mapping[str, float | None]]],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    failed: Mapping[tuple[str, int], str] | None = None,
    experts: int = 4,
    layers: int = 3,
    once: Sequence[str] = ("dense",),
    search: Mapping[str, Any] | None = None,
    routing: Mapping[str, Routing] | None = None,
    sampled: bool = False,
    trained_on: Sequence[str] = (),
) -> Path:
    """A grid of the variants in `values`, whose first is the reference.

    Args:
        folder: where.
        values: variant → seed → metric → number; a seed that is absent is waiting, or has failed.
        seeds: of all cells.
        failed: variant and seed → error.
        experts: K of every cell.
        layers: L of every cell.
        once: stages that all seeds share.
        search: how settings were chosen.
        routing: variant → what its routing is like; `undecided` by default.
        sampled: whether cells kept samples.
        trained_on: variants that hold no data out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "grid.yaml", "base: train.yaml\n")
    table = modality_prior(folder, layers=layers, experts=experts)
    reference = next(iter(values), "")
    document = {
        "version": 1,
        "reference": reference,
        "seeds": list(seeds),
        "confidence": 0.95,
        "metrics": [{"name": n, "title": n, "better": b, "paired": True} for n, b in BETTER.items()],
        "stages_all_seeds_share": list(once),
        "search": search,
        "variants": [
            _variant(
                folder,
                table,
                name,
                found,
                reference,
                values,
                seeds,
                failed or {},
                (routing or {}).get(name),
                sampled=sampled,
                held_out=name not in trained_on,
            )
            for name, found in values.items()
        ],
        "notes": ["All cells are measured on the same held-out data."],
    }
    write_json(folder / "results.json", document)
    return folder


def even(
    number: float, seeds: Sequence[int] = (0, 1, 2), step: float = 0.01
) -> dict[int, dict[str, float | None]]:
    """Every metric near a number, a little further with each seed."""
    return {seed: dict.fromkeys(BETTER, number + step * place) for place, seed in enumerate(seeds)}


def _variant(
    folder: Path,
    table: PriorTable,
    name: str,
    found: Mapping[int, Mapping[str, float | None]],
    reference: str,
    values: Mapping[str, Mapping[int, Mapping[str, float | None]]],
    seeds: Sequence[int],
    failed: Mapping[tuple[str, int], str],
    routing: Routing | None,
    *,
    sampled: bool,
    held_out: bool,
) -> dict[str, Any]:
    shaped = routing is follows
    stages = [STAGES[0], {**STAGES[1], "shape": shaped}]
    if not held_out:
        stages = [{**stage, "eval_data": []} for stage in stages]
    for seed in found:
        statistics = (routing or undecided)(table, tokens=400, seed=seed)
        cell = folder / "cells" / name / f"seed-{seed}"
        write_run(cell, table, {"moe": statistics}, stages=stages, sampled=sampled)
    by_metric = {m: _of(found, m) for m in BETTER}
    return {
        "name": name,
        "about": "",
        "search": None,
        "cells": [
            {
                "seed": seed,
                "folder": f"cells/{name}/seed-{seed}",
                "state": "done" if seed in found else "failed" if (name, seed) in failed else "waiting",
                "error": failed.get((name, seed)),
                "values": {m: found.get(seed, {}).get(m) for m in BETTER},
            }
            for seed in seeds
        ],
        "summary": {m: _dict(summarise(list(own.values()))) for m, own in by_metric.items()},
        "difference": {
            m: _dict(compare(own, _of(values[reference], m), BETTER[m]))  # type: ignore[arg-type]
            for m, own in by_metric.items()
            if name != reference
        },
    }


def _of(found: Mapping[int, Mapping[str, float | None]], metric: str) -> dict[int, float]:
    return {seed: value for seed, own in found.items() if (value := own.get(metric)) is not None}


def _dict(found: Any) -> dict[str, Any] | None:
    return asdict(found) if found is not None else None
