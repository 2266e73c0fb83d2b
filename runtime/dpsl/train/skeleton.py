"""The model that a run starts from, without its weights: shapes on the meta device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dpsl.errors import ModelError
from dpsl.train.compose import composed_skeleton
from dpsl.train.compose.configuration import ROWS
from dpsl.train.compose.places import IMAGE_PROCESSOR, TOKENIZER, WEIGHTS, has_any, local_folder
from dpsl.train.compose.processor import IMAGE_TOKEN
from dpsl.train.models import class_and_config
from priorlang.training.plan import TrainingPlan


def skeleton(plan: TrainingPlan, processor: Any | None, *, allow_absent: bool = False) -> nn.Module:
    """The model without weights.

    Args:
        plan: names it.
        processor: the model's; None where it is not at hand.
        allow_absent: parts that are not on this machine may be read from the plan's `configs`.

    Raises:
        ModelError: there is no config, or a folder that has to hold weights has none.
    """
    if plan.composed is not None:
        if not allow_absent:
            _check_weights(plan.composed.language_model, plan.composed.vision_tower)
        token = None if processor is None else processor.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        return composed_skeleton(plan.composed, token, allow_absent=allow_absent)
    source = plan.model_name_or_path if plan.scratch is None else str(plan.scratch.config)
    assert source is not None
    model_class, config = class_and_config(source)
    if plan.scratch is None and Path(source).is_dir() and not has_any(Path(source), WEIGHTS):
        raise ModelError(
            source,
            "the folder has a config but no weights",
            f"for a model from scratch write `model: {{config: {Path(source) / 'config.json'}}}`",
        )
    with torch.device("meta"):
        model: nn.Module = model_class(config)
    return model


@dataclass(frozen=True)
class Absent:
    """What of a composed model is not on this machine.

    Attributes:
        lines: in words.
        processor: whether it cannot be put together.
    """

    lines: tuple[str, ...] = ()
    processor: bool = False


def absent_parts(plan: TrainingPlan) -> Absent:
    """What a dry run goes without; nothing where the plan has no `configs` to go by instead."""
    composed = plan.composed
    if composed is None or composed.configs is None:
        return Absent()
    text = {"weights": WEIGHTS, "tokenizer": TOKENIZER}
    vision = {"weights": WEIGHTS, "image processor": IMAGE_PROCESSOR}
    lines = []
    missing: list[str] = []
    for source, kinds in ((composed.language_model, text), (composed.vision_tower, vision)):
        folder = local_folder(source)
        here = [kind for kind, patterns in kinds.items() if not has_any(folder, patterns)]
        if here:
            where = "" if Path(source).is_absolute() else ", from the hub"
            lines.append(f"{source}: {' and '.join(here)}{where}")
        if "tokenizer" in here:
            lines.append(
                f"  (without it the vocabulary counts as full, and as {ROWS} rows larger for {IMAGE_TOKEN})"
            )
        missing += here
    return Absent(tuple(lines), any(kind != "weights" for kind in missing))


def _check_weights(*sources: str) -> None:
    """Folders that have to hold weights; a hub name is asked for its own."""
    for source in sources:
        if Path(source).is_dir() and not has_any(Path(source), WEIGHTS):
            raise ModelError(source, "the folder has no weights", "name a folder that save_pretrained wrote")
