"""A stage's settings as transformers and DeepSpeed take them."""

from __future__ import annotations

import copy
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from dpsl.errors import DpslError
from dpsl.train.trackers import tracker_problem
from priorlang.diagnostics.suggest import closest
from priorlang.training.plan import StagePlan

SAME_NAME = (
    "learning_rate",
    "max_steps",
    "num_train_epochs",
    "lr_scheduler_type",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "max_grad_norm",
    "optim",
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "gradient_accumulation_steps",
    "bf16",
    "fp16",
    "logging_steps",
    "save_steps",
    "seed",
    "data_seed",
    "dataloader_num_workers",
)

DEEPSPEED_AUTO: dict[str, Any] = {
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "bf16": {"enabled": "auto"},
    "fp16": {"enabled": "auto"},
}
"""What DeepSpeed has to be told and transformers knows."""


OFFLOADED_AS_IT_IS = ("adamw_torch", "adamw_torch_fused", "adagrad")
"""Values of `optim` that accelerate offloads as DeepSpeed's optimizer of the same kind, parameter groups included."""


class ArgumentsError(DpslError):
    """A setting that transformers or DeepSpeed refuses."""


def training_arguments(stage: StagePlan, folder: Path) -> TrainingArguments:
    """The arguments of a stage's Trainer.

    Raises:
        ArgumentsError: transformers refuses a value or does not know a name.
    """
    known = {field.name for field in fields(TrainingArguments)}
    for name in stage.training_arguments:
        if name not in known:
            near = closest(name, known)
            raise ArgumentsError(
                f"stage {stage.name}: training_arguments: {name}",
                "transformers has no such argument",
                f"did you mean `{near}`?" if near else "see transformers.TrainingArguments",
            )
    for name in stage.report_to:
        if problem := tracker_problem(name):
            raise ArgumentsError(f"stage {stage.name}: report_to", *problem)
    checkpointing = (
        "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
    )
    values = {
        "output_dir": str(folder),
        **{name: getattr(stage, name) for name in SAME_NAME},
        "warmup_steps": stage.warmup_ratio,
        checkpointing: stage.gradient_checkpointing,
        f"{checkpointing}_kwargs": {"use_reentrant": False},
        "report_to": list(stage.report_to) or "none",
        "logging_strategy": "steps",
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "eval_strategy": "no",
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
        "deepspeed": deepspeed_config(stage),
        **stage.training_arguments,
    }
    try:
        return TrainingArguments(**values)
    except (TypeError, ValueError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArgumentsError(
            f"stage {stage.name}", f"transformers refuses its settings ({reason})", "mend them"
        ) from None


def deepspeed_config(stage: StagePlan) -> dict[str, Any]:
    """The DeepSpeed configuration: the file's own, with what it leaves out taken from the training arguments."""
    config = {**copy.deepcopy(DEEPSPEED_AUTO), **copy.deepcopy(stage.deepspeed)}
    if zero_stage(stage) == 3:
        config["zero_optimization"].setdefault("stage3_gather_16bit_weights_on_model_save", True)
    if "optimizer" not in config:
        _settle_offload(stage, config)
    optimizer = config.get("optimizer", {})
    if not torch.cuda.is_available() and optimizer.get("type", "").lower() in ("adam", "adamw"):
        # DeepSpeed's own Adam would be compiled first.
        optimizer.setdefault("params", {}).setdefault("torch_adam", True)
    return config


def _settle_offload(stage: StagePlan, config: dict[str, Any]) -> None:
    """Where torch's optimizer is offloaded: drop that without an accelerator, else ask whether it can be.

    Raises:
        ArgumentsError: accelerate would put an Adam of DeepSpeed's in the optimizer's place without a word.
    """
    zero = config.get("zero_optimization", {})
    offload = zero.get("offload_optimizer") or {}
    if offload.get("device", "none") == "none":
        return
    if not torch.cuda.is_available():
        # Nothing to offload from, and DeepSpeed's Adam for processors would be compiled first.
        del zero["offload_optimizer"]
    elif stage.optim not in OFFLOADED_AS_IT_IS and config.get("zero_force_ds_cpu_optimizer", True):
        raise ArgumentsError(
            f"stage {stage.name}: optim: {stage.optim}",
            "with the optimizer offloaded, Adam would train in its place",
            f"choose one of {', '.join(OFFLOADED_AS_IT_IS)}, or keep it on the accelerator: "
            "`deepspeed: {zero_optimization: {stage: 2}}`",
        )


def zero_stage(stage: StagePlan) -> int:
    """ZeRO's stage, 0 to 3."""
    return int(stage.deepspeed.get("zero_optimization", {}).get("stage", 0))


def planned_steps(stage: StagePlan, samples: int, processes: int) -> int:
    """Optimizer steps of a stage over `samples` records on so many processes, as transformers counts them."""
    if stage.max_steps > 0:
        return stage.max_steps
    batches = math.ceil(samples / (stage.per_device_train_batch_size * processes))
    per_epoch = max(math.ceil(batches / stage.gradient_accumulation_steps), 1)
    return math.ceil(per_epoch * stage.num_train_epochs)
