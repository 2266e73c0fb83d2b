"""A composed LLaVA with the weights of its parts."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dpsl.errors import ModelError
from dpsl.train.compose.configuration import grown, llava_config, text_config, vision_config
from dpsl.train.compose.processor import IMAGE_TOKEN, compose_processor
from priorlang.diagnostics.suggest import listing
from priorlang.training.model_plan import ComposedPlan


def compose_model(
    plan: ComposedPlan, dtype: torch.dtype = torch.float32, *, processor: Any | None = None
) -> nn.Module:
    """The text model and the tower as they were saved, with a new projector between.

    The vocabulary grows only where it has no room for the image token; a new row is the mean of the others. The
    projector begins as PyTorch begins linear layers, as in LLaVA.

    Args:
        plan: the parts.
        dtype: of all weights.
        processor: what `compose_processor` made of them, if it is at hand.

    Returns:
        A LlavaForConditionalGeneration.

    Raises:
        ModelError: a part cannot be read, or lacks weights.
    """
    from transformers import LlavaForConditionalGeneration

    processor = processor if processor is not None else compose_processor(plan)
    token = int(processor.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN))
    text = _text_model(plan.language_model, token, dtype)
    tower = _vision_tower(plan.vision_tower, dtype)
    config = llava_config(plan, text.config, tower.config, token)
    with torch.device("meta"):
        model: Any = LlavaForConditionalGeneration(config)
    model.model.language_model = text.model
    model.lm_head = text.lm_head
    model.model.vision_tower = tower
    model.model.multi_modal_projector = _projector(config, plan.seed).to(dtype)
    model.generation_config = text.generation_config
    model.tie_weights()
    whole: nn.Module = model
    return whole


def _text_model(source: str, token: int, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    text_config(source)
    model = _loaded(AutoModelForCausalLM, source, "language_model", dtype=dtype)
    vocabulary = model.config.vocab_size
    rows = grown(vocabulary, token)
    if rows > vocabulary:
        model.resize_token_embeddings(rows, mean_resizing=False)
        for table in (model.get_input_embeddings(), model.get_output_embeddings()):
            with torch.no_grad():
                table.weight[vocabulary:] = table.weight[:vocabulary].mean(0)
    return model


def _vision_tower(source: str, dtype: torch.dtype) -> Any:
    from transformers import CLIPVisionModel

    return _loaded(CLIPVisionModel, source, "vision_tower", config=vision_config(source), dtype=dtype)


def _projector(config: Any, seed: int) -> nn.Module:
    from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        projector: nn.Module = LlavaMultiModalProjector(config)
    return projector


def _loaded(model_class: Any, source: str, key: str, **options: Any) -> Any:
    """The weights of a part, none of them made up."""
    place = f"model: {key}: {source}"
    try:
        model, info = model_class.from_pretrained(source, output_loading_info=True, **options)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        fix = "name a folder that save_pretrained wrote, or a hub name that can be reached"
        raise ModelError(place, f"no weights can be read here ({reason})", fix) from None
    if info["missing_keys"]:
        missing = listing(sorted(info["missing_keys"]), 3)
        raise ModelError(place, f"no weights for {missing}", "download the checkpoint again")
    return model
