"""The audit of a trainer's first micro-step, told on rank 0."""

from __future__ import annotations

import logging
from typing import Any

from dpsl.audit import Audit, audit_lines
from dpsl.train.processes import rank

LOGGER = logging.getLogger("dpsl.audit")


def finish_audit(trainer: Any, audit: Audit) -> dict[str, Any]:
    """What the audit saw of a trainer's micro-step, after its backward pass. Every rank must call it.

    Returns:
        What `Audit.finish` does.

    Raises:
        AuditError: a router that would not learn, or a term that would not teach it.
    """
    result = audit.finish(trainer.current_gradient_accumulation_steps, loss_scale=_loss_scale(trainer))
    if rank() == 0:
        _be_heard()
        for line in audit_lines(result):
            LOGGER.info(line)
    return result


def _loss_scale(trainer: Any) -> float:
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
