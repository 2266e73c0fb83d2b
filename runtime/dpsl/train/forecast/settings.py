"""DeepSpeed's configuration as a stage will give it, every `auto` filled in."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn
from transformers import TrainingArguments
from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

from dpsl.train.arguments import ArgumentsError, deepspeed_config
from priorlang.training.plan import StagePlan

BATCH = "train_batch_size"


def resolved_deepspeed(
    stage: StagePlan, arguments: TrainingArguments, model: nn.Module, batch: int, steps: int
) -> dict[str, Any]:
    """What DeepSpeed will be given, as transformers resolves it.

    Args:
        stage: the stage.
        arguments: its Trainer's.
        model: the stage's; sizes of buckets depend on its width.
        batch: samples in an optimizer step, over all processes.
        steps: optimizer steps.

    Raises:
        ArgumentsError: the configuration contradicts the stage's settings.
    """
    given = deepspeed_config(stage)
    if given.get(BATCH, "auto") not in ("auto", batch):
        raise ArgumentsError(
            f"stage {stage.name}: deepspeed: {BATCH}: {given[BATCH]}",
            f"the processes make it {batch}",
            'write "auto", or start as many processes as it needs',
        )
    config = HfTrainerDeepSpeedConfig(copy.deepcopy({**given, BATCH: "auto"}))
    config.trainer_config_process(arguments)
    config.config[BATCH] = batch
    try:
        config.trainer_config_finalize(arguments, model, steps)
    except ValueError as error:
        reason = " ".join(line.strip("- ") for line in str(error).splitlines()[1:-1]) or str(error)
        raise ArgumentsError(
            f"stage {stage.name}: deepspeed",
            f"it contradicts the training file ({reason})",
            'write "auto" there',
        ) from None
    resolved: dict[str, Any] = config.config
    return resolved
