"""Small run folders, made by hand: real priors, routing sampled from known Dirichlets, made-up losses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import priorlang
from dpsl.shaping.layout import table_layout
from dpsl.train.run_folder import RunFolder, write_json, write_text
from priorlang.routing.samples import RoutingSamples
from priorlang.routing.statistics import BINS, REACH, RoutingStatistics, group_alpha
from priorlang.table.prior_table import UNSHAPED, PriorTable

PRIOR = """\
priorlang 1
model {{ layers = {layers}  experts = {experts}  top_k = 2 }}
attribute modality {{ vision, language }}
experts visual  = 0..{last}
experts textual = not visual
default base 0.75 weight 0.1
rule vision:   for modality vision   prefer visual  by 0.5
rule language: for modality language prefer textual by 0.5
"""
STAGES: tuple[dict[str, Any], ...] = (
    {"name": "projector", "train": ["projector"], "learning_rate": 3e-3},
    {"name": "warmup-dense", "train": ["all"], "learning_rate": 2e-3},
    {"name": "warmup-moe", "moe": True, "shape": True, "learning_rate": 1e-3, "router_learning_rate": 1e-2},
    {"name": "finetune", "moe": True, "shape": False, "learning_rate": 1e-3},
)
QUESTIONS = 360
ACCURACY = {"projector": 0.4, "warmup-dense": 0.958, "warmup-moe": 0.964, "finetune": 0.953}


def compiled(folder: Path, text: str, **settings: float) -> PriorTable:
    """The table of a prior's text, its source kept in `folder` as a run keeps it."""
    path = folder / "prior.prior"
    path.write_text(text, encoding="utf-8")
    return priorlang.compile(priorlang.load(path, set=settings))


def modality_prior(folder: Path, layers: int = 3, experts: int = 4) -> PriorTable:
    """Vision prefers the first half of the experts, language the second."""
    return compiled(folder, PRIOR.format(layers=layers, experts=experts, last=experts // 2 - 1))


def statistics_of(table: PriorTable, scores: Callable[[int], np.ndarray]) -> RoutingStatistics:
    """Statistics of routing scores p [N, K] that `scores` gives for each group, by its place."""
    layout = table_layout(table)
    samples = [scores(group) for group in range(len(layout.group_name))]
    return RoutingStatistics.of(
        table.layer,
        layout.group_layer,
        layout.group_name,
        layout.group_population,
        tokens=[len(p_NK) for p_NK in samples],
        load=[_load(p_NK, table.header.top_k) for p_NK in samples],
        top=[_load(p_NK, 1) for p_NK in samples],
        probability=[p_NK.sum(0) for p_NK in samples],
        log_probability=[np.log(p_NK).sum(0) for p_NK in samples],
        bins=[_bins(p_NK) for p_NK in samples],
    )


def follows(table: PriorTable, tokens: int = 3000, seed: int = 0) -> RoutingStatistics:
    """Routing that is what the prior asks for; even over the simplex where it asks nothing."""
    generator = np.random.default_rng(seed)
    populations = table_layout(table).group_population

    def scores(group: int) -> np.ndarray:
        population = populations[group]
        alpha = (
            np.ones(table.header.experts)
            if population == UNSHAPED
            else table.alpha[table.row[table.population == population][0]]
        )
        return generator.dirichlet(alpha, tokens).clip(1e-12)

    return statistics_of(table, scores)


def undecided(table: PriorTable, tokens: int = 3000, seed: int = 0) -> RoutingStatistics:
    """Routing of a router that hardly tells tokens apart: every score near 1/K."""
    generator = np.random.default_rng(seed)
    return statistics_of(table, lambda _: generator.dirichlet([150.0] * table.header.experts, tokens))


def samples_of(
    table: PriorTable, statistics: RoutingStatistics, tokens: int = 300, seed: int = 0
) -> RoutingSamples:
    """Tokens drawn from the prior of each group, and experts that are the more alike the nearer their numbers."""
    generator = np.random.default_rng(seed)
    alphas = group_alpha(statistics, table)
    experts = table.header.experts
    drawn = [generator.dirichlet(alpha if alpha is not None else [1.0] * experts, tokens) for alpha in alphas]
    apart_KK = np.abs(np.subtract.outer(np.arange(experts), np.arange(experts)))
    alike_LKK = np.stack([min(0.5 + 0.1 * place, 0.95) ** apart_KK for place in range(len(table.layer))])
    return RoutingSamples(
        np.repeat(np.arange(len(alphas), dtype=np.int32), tokens),
        np.concatenate(drawn).astype(np.float16),
        table.layer.astype(np.int32),
        alike_LKK.astype(np.float32),
        compared=64,
    )


def write_run(
    folder: Path,
    table: PriorTable | None,
    routing: Mapping[str, RoutingStatistics],
    *,
    stages: Sequence[Mapping[str, Any]] = STAGES,
    done: int | None = None,
    counts: bool = True,
    sampled: bool = False,
) -> Path:
    """A run folder of `stages`, the first `done` of them (all by default) complete and the rest not begun; `sampled`: with samples."""
    run = RunFolder(folder)
    settings = [
        {"eval_data": [{"path": "held-out.json"}], "prior": "a.prior" if table is not None else None, **stage}
        for stage in stages
    ]
    write_json(run.plan, {"model_name_or_path": "tiny", "stages": settings})
    write_text(run.train_yaml, "model_name_or_path: tiny\n")
    write_json(run.environment, {"python": "3.11.7", "packages": {"torch": "2.9.0"}, "processes": 1})
    if table is not None:
        table.save(run.prior_table)
    for place, stage in enumerate(settings[: len(settings) if done is None else done]):
        name = stage["name"]
        for row in _rows(stage, table, place, counts):
            run.append_metrics({"stage": name, **row})
        if name in routing:
            run.stage(name).path.mkdir(parents=True, exist_ok=True)
            routing[name].save(run.stage(name).routing)
            if sampled and table is not None:
                samples_of(table, routing[name]).save(run.stage(name).samples)
        run.stage(name).mark_done({"stage": name, "steps": 100})
    return folder


def write_audit(folder: Path, table: PriorTable) -> None:
    """What an audit of the table's routers leaves."""
    routers = [
        {"layer": int(layer), "module": f"layers.{layer}.mlp.router", "kind": "upcycled",
         "gradient": {"task": 1.5e-4, "dpsl": 3.1e-3}}
        for layer in table.layer
    ]  # fmt: skip
    populations = [{"name": name, "tokens": 160} for name in table.header.populations]
    document = {
        "stage": "warmup-moe",
        "routers": routers,
        "coefficients": {
            "schedule": {"factor": 1.0, "step": 0, "of": 100},
            "scale": 1.0,
            "weights": [0.1],
        },
        "populations": populations,
    }
    (folder / "audit.json").write_text(json.dumps(document), encoding="utf-8")


def _rows(
    stage: Mapping[str, Any], table: PriorTable | None, place: int, counts: bool
) -> list[dict[str, Any]]:
    generator = np.random.default_rng(place)
    rows: list[dict[str, Any]] = []
    for step in range(5, 101, 5):
        loss = 3.0 * 0.5**place * (0.25 + np.exp(-step / 25)) * generator.uniform(0.92, 1.08)
        row: dict[str, Any] = {"step": step, "loss": loss, "learning_rate": stage.get("learning_rate", 1e-3)}
        if stage.get("moe") and table is not None:
            if stage.get("shape"):
                row["dpsl"] = 0.04 * np.exp(-step / 30) + 0.002
            for layer in table.layer:
                row[f"layer.{layer}.load_cov"] = 0.3 * np.exp(-step / 20) + 0.02 * layer
                row[f"layer.{layer}.top1_score"] = 0.5 - 0.2 * np.exp(-step / 20) + 0.01 * layer
            row["load_cov"] = 0.3 * np.exp(-step / 20) + 0.02
            row["top1_score"] = 0.5 - 0.2 * np.exp(-step / 20)
        rows.append(row)
    if not stage["eval_data"]:
        return rows
    accuracy = ACCURACY.get(stage["name"], 0.5)
    held_out: dict[str, Any] = {"step": 100, "eval_loss": 0.3, "eval_accuracy": accuracy}
    for task, shift in (("caption", -0.01), ("digit", 0.01), ("larger", -0.05), ("parity", 0.02)):
        held_out[f"eval_{task}_accuracy"] = accuracy + shift
    if counts:
        held_out["eval_count"] = QUESTIONS
        held_out |= {
            f"eval_{task}_count": QUESTIONS // 4 for task in ("caption", "digit", "larger", "parity")
        }
    return [*rows, held_out]


def _load(p_NK: np.ndarray, top_k: int) -> np.ndarray:
    return np.bincount(np.argsort(-p_NK, axis=1)[:, :top_k].ravel(), minlength=p_NK.shape[1])


def _bins(p_NK: np.ndarray) -> np.ndarray:
    ell_NK = np.log(p_NK) - np.log1p(-p_NK.clip(max=1 - 1e-12))
    bin_NK = ((ell_NK + REACH) * (BINS / (2 * REACH))).astype(int).clip(0, BINS - 1)
    return np.stack([np.bincount(column, minlength=BINS) for column in bin_NK.T])
