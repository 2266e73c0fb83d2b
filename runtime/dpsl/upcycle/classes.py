"""Which class an upcycled model has, and how transformers' own loading learns of it."""

from __future__ import annotations

from typing import Any

import transformers
from torch import nn
from transformers.conversion_mapping import (
    get_checkpoint_conversion_mapping,
    register_checkpoint_conversion_mapping,
)

from dpsl.errors import UpcycleError
from dpsl.upcycle.decoder import SUPPORTED
from dpsl.upcycle.modeling_upcycled import CAUSAL, MULTIMODAL

UPCYCLED: dict[str, Any] = {model_class.__name__: model_class for model_class in (*CAUSAL, *MULTIMODAL)}


def register() -> None:
    """Let AutoConfig, AutoModelForCausalLM and AutoModelForImageTextToText know the upcycled classes."""
    for classes, auto in (
        (CAUSAL, transformers.AutoModelForCausalLM),
        (MULTIMODAL, transformers.AutoModelForImageTextToText),
    ):
        for model_class in classes:
            config_class = model_class.config_class
            transformers.AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
            auto.register(config_class, model_class, exist_ok=True)
            renamed = get_checkpoint_conversion_mapping(config_class.model_type.removeprefix("upcycled_"))
            if renamed is not None:
                register_checkpoint_conversion_mapping(config_class.model_type, renamed, overwrite=True)


def model_class_of(name: str) -> Any:
    """The class of a name in `architectures`, upcycled or of transformers; None if there is none."""
    return UPCYCLED.get(name) or getattr(transformers, name, None)


def upcycled_class(model: nn.Module) -> Any:
    """The class that a dense model becomes.

    Raises:
        UpcycleError: its architecture is not supported.
    """
    for upcycled in UPCYCLED.values():
        if upcycled.__bases__[-1] is type(model):
            return upcycled
    raise UpcycleError(type(model).__name__, "this architecture cannot be upcycled", SUPPORTED)


def become_upcycled(model: nn.Module, upcycled: dict[str, Any]) -> None:
    """Change the class of a model whose blocks are in place, and note in its config what was done."""
    model_class = upcycled_class(model)
    config: Any = model.config
    config.__class__ = model_class.config_class
    config.upcycled = upcycled
    config.architectures = [model_class.__name__]
    model.__class__ = model_class


register()
