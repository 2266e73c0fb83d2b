"""The configuration of a composed LLaVA, and its shapes without weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from dpsl.errors import ModelError
from dpsl.train.compose.places import local_folder
from priorlang.training.model_plan import ComposedPlan

ROWS = 64
"""A vocabulary that has to grow for the image token grows to a multiple of this."""


def composed_skeleton(plan: ComposedPlan, image_token_id: int | None, *, allow_absent: bool) -> nn.Module:
    """The composed model on the meta device.

    Args:
        plan: its parts.
        image_token_id: of the tokenizer with the image token; None where there is no tokenizer at hand: the
            vocabulary is then taken to be full.
        allow_absent: a part that is not on this machine may be read from `plan.configs`.

    Raises:
        ModelError: a part has no config, or is of no kind that can be composed.
    """
    from transformers import LlavaForConditionalGeneration

    stand_in = plan.configs if allow_absent else None
    text = text_config(plan.language_model, stand_in.language_model if stand_in is not None else None)
    vision = vision_config(plan.vision_tower, stand_in.vision_tower if stand_in is not None else None)
    token = text.vocab_size if image_token_id is None else image_token_id
    text.vocab_size = grown(text.vocab_size, token)
    with torch.device("meta"):
        model: nn.Module = LlavaForConditionalGeneration(llava_config(plan, text, vision, token))
    return model


def llava_config(plan: ComposedPlan, text: Any, vision: Any, image_token_id: int) -> Any:
    """LLaVA-1.5's arrangement: patches of one layer of the tower, two layers with a GELU between as projector."""
    from transformers import LlavaConfig

    layers = vision.num_hidden_layers
    if not -layers <= plan.vision_feature_layer <= layers:
        raise ModelError(
            f"model: vision_feature_layer: {plan.vision_feature_layer}",
            f"{plan.vision_tower} has {layers} layers",
            "-2 is LLaVA-1.5's, the last but one",
        )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=image_token_id,
        image_seq_length=(vision.image_size // vision.patch_size) ** 2,
        projector_hidden_act="gelu",
        vision_feature_select_strategy="default",
        vision_feature_layer=plan.vision_feature_layer,
        tie_word_embeddings=bool(text.tie_word_embeddings),
    )
    config.architectures = ["LlavaForConditionalGeneration"]
    return config


def text_config(source: str, stand_in: Path | None = None) -> Any:
    """The config of a text model.

    Raises:
        ModelError: there is none, or it is of another kind.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    config = _read(source, stand_in, "language_model")
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING or getattr(config, "upcycled", None):
        raise ModelError(
            f"model: language_model: {source}",
            f"a {config.model_type} is no dense text model",
            "name one such as Qwen/Qwen2-1.5B; experts come later, by `upcycle`",
        )
    return config


def vision_config(source: str, stand_in: Path | None = None) -> Any:
    """The config of a CLIP vision tower, alone or inside a whole CLIP.

    Raises:
        ModelError: there is none, or it is of another kind.
    """
    config = _read(source, stand_in, "vision_tower")
    if config.model_type == "clip":
        config = config.vision_config
    if config.model_type != "clip_vision_model":
        raise ModelError(
            f"model: vision_tower: {source}",
            f"a {config.model_type} is no CLIP vision tower",
            "name one such as openai/clip-vit-large-patch14-336",
        )
    return config


def grown(vocabulary: int, token: int) -> int:
    """Rows of an embedding table that has room for a token."""
    return vocabulary if token < vocabulary else -(-(token + 1) // ROWS) * ROWS


def _read(source: str, stand_in: Path | None, key: str) -> Any:
    """The config of a part: its own where it is on this machine, else the stand-in, else the hub's."""
    import transformers

    place = local_folder(source)
    chosen = source if place is not None or stand_in is None else str(stand_in)
    try:
        return transformers.AutoConfig.from_pretrained(chosen)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        fix = "check the name, and the connection where it is a hub name; or name a folder"
        raise ModelError(f"model: {key}: {chosen}", f"no transformers config ({reason})", fix) from None
