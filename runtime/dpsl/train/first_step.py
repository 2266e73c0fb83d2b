"""The audit of a trainer's first micro-step."""

from __future__ import annotations

import logging
from typing import Any

from dpsl.audit import audit_lines
from dpsl.train.processes import rank

LOGGER = logging.getLogger("dpsl.audit")


def log_audit(result: dict[str, Any]) -> None:
    """Tell what an audit found, on rank 0."""
    if rank() == 0:
        _be_heard()
        for line in audit_lines(result):
            LOGGER.info(line)


def loss_scale(trainer: Any) -> float:
    """By what fp16 training multiplies the loss: DeepSpeed's scale, or that of torch.amp."""
    if not trainer.args.fp16:
        return 1.0
    scaler = trainer.accelerator.scaler
    if scaler is not None:
        return float(scaler.get_scale())
    return float(getattr(getattr(trainer.model_wrapped, "optimizer", None), "loss_scale", 1.0))


def _be_heard() -> None:
    """A script that has not set up logging sees the lines too; one that has keeps what it chose."""
    if LOGGER.level == logging.NOTSET:
        LOGGER.setLevel(logging.INFO)
    if not LOGGER.hasHandlers():
        LOGGER.addHandler(logging.StreamHandler())
