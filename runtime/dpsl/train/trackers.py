"""TensorBoard over the stages of a run: a folder for each, so that equal steps of two stages do not meet."""

from __future__ import annotations

from pathlib import Path

from transformers import Trainer
from transformers.integrations import TensorBoardCallback

from dpsl.train.run_folder import RunFolder


def keep_stages_apart(trainer: Trainer, run: RunFolder, stage: str, step: int) -> None:
    """Write a stage's events to `tensorboard/STAGE` of the run, or of TENSORBOARD_LOGGING_DIR.

    Args:
        trainer: before it trains.
        run: the run.
        stage: its name.
        step: where it goes on; events of later steps, of before a kill, are dropped. 0: it begins.
    """
    for callback in trainer.callback_handler.callbacks:
        if not isinstance(callback, TensorBoardCallback):
            continue
        folder = Path(callback.logging_dir or run.tensorboard) / stage
        callback.logging_dir = str(folder)
        if trainer.is_world_process_zero() and folder.is_dir():
            from torch.utils.tensorboard import SummaryWriter

            callback.tb_writer = SummaryWriter(log_dir=str(folder), purge_step=step + 1)
