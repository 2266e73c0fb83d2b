"""Trackers over the stages of a run: something of its own for each, so that equal steps of two stages do not meet.

TensorBoard has a folder for each stage, MLflow a run, Weights & Biases a run in the training's group. transformers'
callbacks of the last two log to a run that is open, and where none is, the held-out numbers at a stage's end open another.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from transformers import Trainer
from transformers.integrations import (
    MLflowCallback,
    TensorBoardCallback,
    WandbCallback,
    get_available_reporting_integrations,
)
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from dpsl.errors import DpslError
from dpsl.train.processes import first_on_main
from dpsl.train.run_folder import RunFolder, write_json
from priorlang.diagnostics.suggest import closest, listing

UNLISTED = ("azure_ml", "flyte")
"""Trackers whose packages transformers does not say it has found."""
End = Callable[[bool], None]
"""Closes a tracker's run; whether the stage came to its end."""


class TrackerError(DpslError):
    """A tracker takes no run."""


def tracker_problem(name: str) -> tuple[str, str] | None:
    """What is wrong with an entry of `report_to` on this machine, and the fix."""
    if name in ("all", "none"):
        return None
    if name not in INTEGRATION_TO_CALLBACK:
        near = closest(name, INTEGRATION_TO_CALLBACK)
        return (
            f"there is no tracker `{name}`",
            f"did you mean `{near}`?" if near else f"there are {listing(INTEGRATION_TO_CALLBACK)}",
        )
    if name not in (*get_available_reporting_integrations(), *UNLISTED):
        return f"`{name}` is not installed", f"`pip install {name}`, or leave it out of `report_to`"
    if name == "mlflow" and os.environ.get("MLFLOW_RUN_ID"):
        return "MLFLOW_RUN_ID names one run of MLflow, and every stage begins its own", "unset MLFLOW_RUN_ID"
    return None


@contextmanager
def stages_apart(trainer: Trainer, run: RunFolder, stage: str, step: int) -> Iterator[None]:
    """What each tracker has for this stage alone, from before it trains until its held-out numbers are logged.

    Args:
        trainer: before it trains.
        run: the run.
        stage: its name.
        step: where it goes on. 0: it begins.

    Raises:
        TrackerError: a tracker takes no run.
    """
    name = trainer.args.run_name or f"{run.path.name}/{stage}"
    ends: list[End] = []
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback):
            _tensorboard(callback, trainer, run, stage, step)
        elif isinstance(callback, WandbCallback):
            ends += [first_on_main(lambda: _wandb(run, name, step)) or _nothing]
        elif isinstance(callback, MLflowCallback):
            ends += [first_on_main(lambda: _mlflow(run, stage, name)) or _nothing]
    done = False
    try:
        yield
        done = True
    finally:
        for end in ends:
            end(done)


def events_folder(run: RunFolder, stage: str) -> Path:
    """Where TensorBoard's events of a stage are: `tensorboard/STAGE` of the run, or of TENSORBOARD_LOGGING_DIR."""
    given = os.environ.get("TENSORBOARD_LOGGING_DIR")
    return (Path(given).expanduser() if given else run.tensorboard) / stage


def _tensorboard(callback: Any, trainer: Trainer, run: RunFolder, stage: str, step: int) -> None:
    """Events of later steps are dropped."""
    folder = events_folder(run, stage)
    callback.logging_dir = str(folder)
    if trainer.is_world_process_zero() and folder.is_dir():
        from torch.utils.tensorboard import SummaryWriter

        callback.tb_writer = SummaryWriter(log_dir=str(folder), purge_step=step + 1)


def _wandb(run: RunFolder, name: str, step: int) -> End:
    """A run for the stage, or for what is left of it, in the training's group; the caller's own, where one is open."""
    wandb: Any = import_module("wandb")

    if wandb.run is not None:
        return _nothing
    try:
        wandb.init(
            project=os.environ.get("WANDB_PROJECT", "huggingface"),
            group=os.environ.get("WANDB_RUN_GROUP", run.path.name),
            name=f"{name} from step {step + 1}" if step else name,
        )
    except wandb.Error as error:
        fix = "`wandb login`, or set WANDB_MODE=offline to keep it on this machine"
        raise TrackerError("report_to: wandb", _first_line(error), fix) from None
    return lambda done: wandb.finish(exit_code=0 if done else 1)


def _mlflow(run: RunFolder, stage: str, name: str) -> End:
    """A run for the stage, the same when it goes on; the caller's own, where one is open."""
    mlflow: Any = import_module("mlflow")

    if mlflow.active_run() is not None:
        return _nothing
    place = run.stage(stage).mlflow
    try:
        if place.is_file() and (begun := _begun(json.loads(place.read_text(encoding="utf-8"))["run_id"])):
            mlflow.start_run(run_id=begun)
        else:
            tags = {"priorlang.run": str(run.path), "priorlang.stage": stage}
            begun = mlflow.start_run(run_name=name, tags=tags).info.run_id
            write_json(place, {"run_id": begun})
    except mlflow.exceptions.MlflowException as error:
        fix = "look at MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME"
        raise TrackerError("report_to: mlflow", _first_line(error), fix) from None
    return lambda done: mlflow.end_run("FINISHED" if done else "FAILED")


def _begun(run_id: str) -> str | None:
    """The run of that id; None where the server that is named now has none."""
    mlflow: Any = import_module("mlflow")

    try:
        found = mlflow.get_run(run_id)
    except mlflow.exceptions.MlflowException:
        return None
    return run_id if found.info.lifecycle_stage == "active" else None


def _nothing(_: bool) -> None:
    """Nothing was opened here."""


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
