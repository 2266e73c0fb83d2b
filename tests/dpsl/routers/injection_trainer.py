"""Transformers' Trainer in the matrix of injection; for injection_worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from explicit import MicroBatch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from dpsl.shaper import Shaper

RATE = 1.0


class OneStep(Trainer):
    """What a user adds to transformers' Trainer: its token-normalised loss is a sum over micro-batches."""

    shaper: Shaper

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The model's loss, its tokens described and its scale told."""
        modality = inputs.pop("modality")
        with self.shaper.tokens(mask=inputs["attention_mask"], modality=modality):
            loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        self.shaper.scale_with(loss, factor=1 / self.current_gradient_accumulation_steps)
        return loss


def arguments_of(
    case: Mapping[str, Any], options: dict[str, bool] | None, config: dict[str, Any], folder: str
) -> TrainingArguments:
    """Those of one optimizer step of SGD without any clipping."""
    return TrainingArguments(
        output_dir=folder, use_cpu=True, max_steps=1, per_device_train_batch_size=3, save_strategy="no",
        gradient_accumulation_steps=case["accumulation"], max_grad_norm=0.0, lr_scheduler_type="constant",
        deepspeed=config if case["stage"] is not None else None, bf16=case["dtype"] == "bf16",
        gradient_checkpointing=options is not None, gradient_checkpointing_kwargs=options, report_to=[],
        remove_unused_columns=False, disable_tqdm=True, logging_strategy="no", learning_rate=RATE,
        train_sampling_strategy="sequential", dataloader_pin_memory=False,
        optim="sgd",
    )  # fmt: skip


def rows_of(places: Iterable[Sequence[MicroBatch]]) -> list[dict[str, Tensor]]:
    """Sequences in the order in which a sequential loader hands them to ranks."""
    rows: list[dict[str, Tensor]] = []
    for ranks in places:
        for batch in ranks:
            columns = {**batch.inputs, "modality": batch.modality}
            rows += [{name: column[row] for name, column in columns.items()} for row in range(3)]
    return rows


def collate(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Rows of equal length."""
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
