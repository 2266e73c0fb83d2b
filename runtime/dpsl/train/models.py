"""Where a run's model and processor come from, and how a stage's model is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from dpsl.errors import ModelError
from dpsl.train.compose import compose_model, compose_processor
from dpsl.train.parts import MODULE_NAMES, VISION_TOWER
from dpsl.train.run_folder import replacing
from dpsl.upcycle import load_model
from dpsl.upcycle.classes import model_class_of
from priorlang.training.model_plan import ModelPlan
from priorlang.training.plan import StagePlan, TrainingPlan


def starting_model(plan: TrainingPlan, stage: StagePlan, before: Path | None) -> nn.Module:
    """The model that a stage starts from, in bf16 where the stage computes in it, else in float32.

    DeepSpeed takes its fp32 copies of weights after it has cast them to bf16, so anything wider would cost host memory
    and be lost. Under `fp16` upcycling needs the range of float32.

    Args:
        plan: the run's.
        stage: the stage.
        before: the saved model of the stage that it follows; None: the run's own.

    Raises:
        DpslError: it cannot be built or loaded.
    """
    dtype = torch.bfloat16 if stage.bf16 else torch.float32
    if before is not None:
        return _loaded(before, dtype)
    if plan.scratch is not None:
        return _from_scratch(plan.scratch, dtype)
    if plan.composed is not None:
        return compose_model(plan.composed, dtype)
    assert plan.model_name_or_path is not None
    return _loaded(plan.model_name_or_path, dtype)


def load_processor(plan: TrainingPlan) -> Any:
    """The processor of a plan's model, or the tokenizer of a text model.

    Raises:
        ModelError: there is none.
    """
    from transformers import AutoProcessor

    if plan.composed is not None and plan.processor is None:
        return compose_processor(plan.composed)
    source = plan.processor_source
    try:
        return AutoProcessor.from_pretrained(source)
    except (OSError, ValueError, KeyError) as error:
        fix = "check the name, and the connection where it is a hub name; or name a folder: `processor: …`"
        raise ModelError(source, f"no processor or tokenizer here ({_first_line(error)})", fix) from None


def save_stage_model(folder: Path, model: Any, processor: Any, state: dict[str, Any] | None) -> None:
    """Keep the model with its processor, whole or not at all.

    Args:
        folder: where; replaced at the end.
        model: a transformers model.
        processor: saved beside it.
        state: the gathered weights where the model's own are sharded.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing(folder) as beside:
        options = {} if state is None else {"state_dict": state}
        model.save_pretrained(beside, **options)
        processor.save_pretrained(beside)


def vision_tower(model: nn.Module) -> nn.Module:
    """The vision tower inside a multimodal model.

    Raises:
        ModelError: it has none.
    """
    for name, module in model.named_modules():
        if MODULE_NAMES.get(name.rpartition(".")[2]) == VISION_TOWER:
            tower: nn.Module = module
            return tower
    raise ModelError(
        "objective: image-labels", f"{type(model).__name__} has no vision tower", "leave the objective out"
    )


_MODEL_FIX = "`model_name_or_path` is a folder that save_pretrained wrote, or a hub name"


def _loaded(folder: Path | str, dtype: torch.dtype) -> nn.Module:
    try:
        model: nn.Module = load_model(folder, dtype=dtype)
    except (OSError, ValueError) as error:
        raise ModelError(
            str(folder), f"no model can be read here ({_first_line(error)})", _MODEL_FIX
        ) from None
    return model


def _from_scratch(plan: ModelPlan, dtype: torch.dtype) -> nn.Module:
    model_class, config = class_and_config(str(plan.config))
    with torch.random.fork_rng():
        torch.manual_seed(plan.seed)
        model: nn.Module = model_class(config)
    for parameter in model.parameters():  # not buffers, which rotary embeddings need in float32
        parameter.data = parameter.data.to(dtype)
    return model


def class_and_config(source: str) -> tuple[Any, Any]:
    """The transformers class that a config names, and the config.

    Raises:
        ModelError: there is none.
    """
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(source)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(source, f"no transformers config ({_first_line(error)})", _MODEL_FIX) from None
    name = (getattr(config, "architectures", None) or ["none"])[0]
    model_class = model_class_of(name)
    if model_class is None:
        raise ModelError(
            source, f"its `architectures` names {name!r}", "name a class of transformers that has a loss"
        )
    return model_class, config


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
