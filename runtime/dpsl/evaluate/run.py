"""Evaluate the stages of a run as its training file says, or any model folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dpsl.errors import EvaluationError
from dpsl.evaluate.harnesses import require, versions_of
from dpsl.evaluate.scores import Evaluation, document
from dpsl.train.run_folder import RunFolder, open_run_folder, write_json
from priorlang.training.evaluation import EvaluationPlan
from priorlang.training.plan import StagePlan, TrainingPlan

LAUNCHERS = (
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "ROLE_RANK",
    "MASTER_",
    "TORCHELASTIC_",
)
"""Beginnings of the variables that make a process one of several ranks."""


def evaluate_model(model: Path, asked: EvaluationPlan, held_out: tuple[Any, ...] = ()) -> Evaluation:
    """Let a model folder take one benchmark.

    Args:
        model: a folder with the model and its processor.
        asked: the harness and its tasks.
        held_out: the sources that `questions` asks about.

    Raises:
        DpslError: anything the user can mend.
    """
    if not (model / "config.json").is_file():
        raise EvaluationError(str(model), "there is no model here", "name a run, or a model's folder")
    harness = require(asked)
    started = time.perf_counter()
    scores = harness.run(model, asked, held_out)
    return Evaluation(asked, tuple(scores), time.perf_counter() - started, versions_of(harness))


def evaluate_run(
    path: Path, asked: EvaluationPlan | None = None, stage: str | None = None
) -> Iterator[tuple[str, Evaluation]]:
    """Evaluate stages of a run; evaluation.json and metrics.jsonl have each result when it is yielded.

    Args:
        path: the run folder.
        asked: one benchmark for one stage; None: all that the training file asks for and that is not there yet.
        stage: the stage; by default the last, or with `asked=None` all.

    Raises:
        DpslError: anything the user can mend.
    """
    run, plan = open_run_folder(path), plan_of(path)
    if asked is None:
        todo = [item for item in pending(path) if stage in (None, item[0].name)]
    else:
        todo = [(plan.stage(stage) if stage is not None else plan.stages[-1], asked)]
    for where, entry in todo:
        folder = run.stage(where.name)
        if not folder.model.is_dir():
            raise EvaluationError(
                f"{path}: stage {where.name}",
                "it has no model yet",
                f"train it: `priorlang train --resume {path}`",
            )
        evaluation = evaluate_model(folder.model, entry, where.eval_data)
        _keep(run, where, evaluation)
        yield where.name, evaluation


def pending(path: Path) -> list[tuple[StagePlan, EvaluationPlan]]:
    """What a run's training file asks for and its folder does not hold."""
    run = RunFolder(path)
    return [
        (stage, entry)
        for stage in plan_of(path).stages
        for entry in stage.evaluate
        if entry.model_dump(mode="json") not in [known["asked"] for known in _known(run, stage.name)]
    ]


def evaluate_pending(path: Path, *, quiet: bool = False) -> None:
    """Do what is pending, in a process of its own: a harness changes the one that it runs in, and training has its device.

    Raises:
        EvaluationError: it fails; the run itself is trained.
    """
    if not pending(path):
        return
    environment = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHERS)}
    command = [sys.executable, "-m", "priorlang", "evaluate", str(path), *(["--quiet"] if quiet else [])]
    if subprocess.run(command, env=environment, check=False).returncode:
        raise EvaluationError(
            str(path),
            "the run is trained, its evaluation failed",
            f"mend it, then `priorlang evaluate {path}`",
        )


def plan_of(path: Path) -> TrainingPlan:
    """The plan of a run."""
    return TrainingPlan.model_validate_json(open_run_folder(path).plan.read_text(encoding="utf-8"))


def _keep(run: RunFolder, stage: StagePlan, evaluation: Evaluation) -> None:
    """A result takes the place of one that was asked for in the same words."""
    entry, folder = evaluation.to_json(), run.stage(stage.name)
    others = [known for known in _known(run, stage.name) if known["asked"] != entry["asked"]]
    step = (
        json.loads((folder.path / "done.json").read_text(encoding="utf-8")).get("steps", 0)
        if folder.done
        else 0
    )
    write_json(folder.evaluation, document(str(folder.model.relative_to(run.path)), [*others, entry]))
    run.append_metrics({"stage": stage.name, "step": step, **evaluation.metrics()})
    if "tensorboard" in stage.report_to or "all" in stage.report_to:
        _to_tensorboard(run, stage.name, step, evaluation.metrics())


def _to_tensorboard(run: RunFolder, stage: str, step: int, metrics: Mapping[str, float]) -> None:
    """Where the stage's other numbers are; nowhere where TensorBoard is not installed any more."""
    if find_spec("tensorboard") is None:
        return
    from torch.utils.tensorboard import SummaryWriter

    from dpsl.train.trackers import events_folder

    with SummaryWriter(log_dir=str(events_folder(run, stage))) as writer:
        for name, value in metrics.items():
            writer.add_scalar(name, value, step)


def _known(run: RunFolder, stage: str) -> list[dict[str, Any]]:
    file = run.stage(stage).evaluation
    return list(json.loads(file.read_text(encoding="utf-8"))["evaluations"]) if file.is_file() else []
