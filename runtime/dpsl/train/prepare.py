"""Make a run folder ready for its processes: the plan, the priors, the environment."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dpsl.train.run_folder import (
    RunFolder,
    create_run_folder,
    refuse_folder,
    replacing,
    write_json,
    write_text,
)
from priorlang.table.prior_table import PriorTable
from priorlang.training.plan import TrainingPlan

__all__ = ["environment", "prepare_run", "refuse_folder"]

PACKAGES = ("priorlang", "torch", "transformers", "deepspeed", "accelerate", "numpy", "scipy", "safetensors")


def prepare_run(
    plan: TrainingPlan, resolved: str, tables: Mapping[Path, PriorTable], processes: int
) -> RunFolder:
    """Create the run folder of a plan.

    Args:
        plan: the resolved training file.
        resolved: its text.
        tables: the compiled prior of each prior file that it names.
        processes: ranks that will train.

    Raises:
        RunFolderError: the folder is in use, or cannot be written.
    """
    run = create_run_folder(plan.output_dir)
    write_text(run.train_yaml, resolved)
    write_json(run.environment, {**environment(), "processes": processes})
    for stage in plan.stages:
        if stage.prior is not None and stage.prior != plan.prior:
            _save(tables[stage.prior], run.stage(stage.name).prior_table)
    if plan.prior is not None:
        _keep_source(plan.prior, run.path)
        _save(tables[plan.prior], run.prior_table)
    # The plan comes last: a folder with a plan is a run that can be resumed.
    write_json(run.plan, plan.model_dump(mode="json"))
    return run


def environment() -> dict[str, Any]:
    """What the run runs on."""
    import torch

    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cpus": os.cpu_count(),
        "accelerators": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "command": sys.argv,
    }


def _save(table: PriorTable, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        table.save(beside)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _keep_source(prior: Path, folder: Path) -> None:
    """Keep the prior beside its table: as it is, or in one file with what it imports."""
    from priorlang.phases import Prior
    from priorlang.semantics.flatten import flattened

    program = Prior.read(prior).program
    if len(program.files) == 1:
        shutil.copyfile(prior, folder / f"prior{prior.suffix}")
    else:
        (folder / "prior.prior").write_text(flattened(program), encoding="utf-8")
