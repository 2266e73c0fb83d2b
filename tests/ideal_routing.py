"""Routing as a prior would have it, without sampling: every sum is its expectation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, psi

from priorlang.routing.class_sums import ClassSums
from priorlang.routing.run import RunRouting
from priorlang.routing.statistics import GRID_P, RoutingStatistics
from priorlang.table.dirichlet import top_k_probability
from priorlang.table.prior_table import UNSHAPED, PriorTable

Array = NDArray[np.float64]
BEFORE = ({"name": "before", "moe": True, "shape": False},)
AFTER = ({"name": "shaped", "moe": True, "shape": True},)


def cell_alpha(table: PriorTable) -> Array:
    """[L, C, K], α of every cell; 1 where unshaped."""
    alpha = np.concatenate([table.alpha, np.ones((1, table.header.experts))])
    return np.asarray(alpha[table.row])


def ideal_statistics(
    table: PriorTable, alpha_LCK: Array | None = None, *, tokens: int | Array = 20_000, by_class: bool = True
) -> RoutingStatistics:
    """Statistics gathered under `table` of scores that are Dir(α) in each cell; under its own α by default."""
    alpha_LCK = cell_alpha(table) if alpha_LCK is None else alpha_LCK
    tokens_LC = np.broadcast_to(np.asarray(tokens), table.row.shape)
    shape = alpha_LCK.shape
    flat = alpha_LCK.reshape(-1, shape[-1])
    distinct, which = np.unique(flat, axis=0, return_inverse=True)
    parts = [np.array([part(row, table.header.top_k) for row in distinct])[which.ravel()] for part in _PARTS]
    load, top, mean, log_mean, bins = (
        part.reshape(*shape[:2], *part.shape[1:]) * tokens_LC.reshape(*shape[:2], *[1] * (part.ndim - 1))
        for part in parts
    )
    groups = [
        (position, population)
        for position in range(len(table.layer))
        for population in sorted(set(table.population[position].tolist()), key=lambda p: (p == UNSHAPED, p))
    ]

    def grouped(cells: Array) -> Array:
        return np.stack(
            [cells[position, table.population[position] == number].sum(0) for position, number in groups]
        )

    names = [
        f"layer {table.layer[position]} · unshaped"
        if number == UNSHAPED
        else table.header.populations[number]
        for position, number in groups
    ]
    sums = {
        "tokens": tokens_LC,
        "load": load.round(),
        "top": top.round(),
        "probability": mean,
        "log_probability": log_mean,
    }
    return RoutingStatistics.of(
        table.layer,
        [position for position, _ in groups],
        names,
        [number for _, number in groups],
        bins=grouped(bins).round(),
        classes=ClassSums.of(**sums) if by_class else None,
        **{name: grouped(cells) for name, cells in sums.items()},
    )


def ideal_run(
    table: PriorTable, alpha_LCK: Array | None = None, *, tokens: int | Array = 20_000, shaped: bool = True,
    by_class: bool = True,
) -> RunRouting:  # fmt: skip
    """The same as the routing of a run."""
    statistics = ideal_statistics(table, alpha_LCK, tokens=tokens, by_class=by_class)
    return RunRouting("a-run", "shaped" if shaped else "before", shaped, shaped, False, statistics, table)


def swapped(run: RunRouting) -> RunRouting:
    """Every expert's numbers under the name of its opposite: K − 1 − k."""
    statistics = run.statistics
    assert statistics.classes is not None
    names = ("load", "top", "probability", "log_probability")
    classes = replace(
        statistics.classes, **{name: getattr(statistics.classes, name)[..., ::-1] for name in names}
    )
    arrays = {name: getattr(statistics, name)[:, ::-1] for name in (*names, "bins")}
    return replace(run, statistics=replace(statistics, classes=classes, **arrays))


def write_run(
    folder: Path, run: RunRouting, stages: Sequence[Mapping[str, object]] = AFTER, *, at: str | None = None
) -> Path:
    """A run folder with these stages, the statistics at the end of the last or of stage `at`."""
    stage = str(stages[-1]["name"]) if at is None else at
    (folder / "stages" / stage).mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps({"stages": list(stages)}), encoding="utf-8")
    run.table.save(folder / "prior.safetensors")
    run.statistics.save(folder / "routing.safetensors")
    run.statistics.save(folder / "stages" / stage / "routing.safetensors")
    return folder


def _bins(alpha: Array, _top_k: int) -> Array:
    return np.diff(betainc(alpha[:, None], alpha.sum() - alpha[:, None], GRID_P), axis=-1)


_PARTS = (
    top_k_probability,
    lambda alpha, _top_k: top_k_probability(alpha, 1),
    lambda alpha, _top_k: alpha / alpha.sum(),
    lambda alpha, _top_k: psi(alpha) - psi(alpha.sum()),
    _bins,
)
