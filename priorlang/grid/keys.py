"""The content address of a stage: equal for stages that must end in the same model.

A stage is what its plan says, its data and its prior, after the stage before it. What decides nothing for a dense stage
(the prior, the regularizers, how experts will be made) is left out, so methods that differ there share it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from priorlang.training.plan import StagePlan, TrainingPlan
from priorlang.training.priors import Tables

FOR_EXPERTS = (
    "prior", "upcycle", "regularizers", "shape", "target", "ranks", "scope", "cdf_steps", "look_ahead",
    "min_population", "router_learning_rate",
)  # fmt: skip
"""Keys of a stage that mean nothing while its layers are dense."""
PACKAGES = ("priorlang", "torch", "transformers", "deepspeed", "accelerate")
LARGEST = 64 * 2**20
"""Files of the model's folder above this count with their size and time, not with their content."""


def stage_keys(plan: TrainingPlan, tables: Tables, processes: int = 1) -> tuple[str, ...]:
    """The key of each stage in order, each taking in the one before.

    Args:
        plan: the resolved training file.
        tables: its compiled priors.
        processes: ranks that will train, whose number changes what is drawn.
    """
    key = _digest({"model": _model(plan), "processes": processes, "packages": _versions()})
    keys = []
    for index, stage in enumerate(plan.stages):
        key = _digest({"before": key, "stage": _stage(stage, tables), "schedule": _schedule(plan, index)})
        keys.append(key)
    return tuple(keys)


def _schedule(plan: TrainingPlan, index: int) -> list[Any]:
    """A prior's schedule runs over all shaped steps, so a shaped stage depends on the shaped ones after it."""
    if not any(stage.shape for stage in plan.stages[: index + 1]):
        return []
    return [_plain(stage) for stage in plan.stages[index + 1 :] if stage.shape]


def _stage(stage: StagePlan, tables: Tables) -> dict[str, Any]:
    plain = _plain(stage)
    if not stage.moe:
        plain = {key: value for key, value in plain.items() if key not in FOR_EXPERTS}
    elif stage.prior is not None:
        plain["prior"] = tables[stage.prior].header.normal_form
    for key in ("data", "eval_data"):
        for entry, source in zip(plain[key], getattr(stage, key), strict=True):
            entry["path"] = _content(source.path)
    return plain


def _plain(stage: StagePlan) -> dict[str, Any]:
    return stage.model_dump(mode="json")


def _model(plan: TrainingPlan) -> dict[str, Any]:
    """Where weights and processor come from: files by content, hub names as they are."""
    found: dict[str, Any] = {"seed": plan.model.seed if plan.model is not None else None}
    if plan.scratch is not None:
        found["config"] = _content(plan.scratch.config)
    composed = plan.composed
    if composed is not None:
        found["composed"] = composed.model_dump(mode="json", exclude={"configs"})
    tower = composed.vision_tower if composed is not None else None
    for name in {plan.model_name_or_path, plan.processor_source, tower} - {None}:
        folder = Path(str(name))
        if not folder.is_dir():
            found[f"name {name}"] = name
            continue
        for file in sorted(folder.iterdir()):
            if file.is_file():
                found[f"{name == plan.processor_source} {file.name}"] = _content(file)
    return found


@cache
def _content(file: Path) -> str:
    """The digest of a file; read once in a process."""
    stat = file.stat()
    if stat.st_size > LARGEST and file.suffix != ".json":
        return f"{stat.st_size} {stat.st_mtime_ns}"
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@cache
def _versions() -> Mapping[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = ""
    return found


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
