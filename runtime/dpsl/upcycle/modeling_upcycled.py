"""Upcycled models as transformers sees them: the dense classes, with blocks of experts in some layers.

This file and `block.py` travel with every saved model, so a machine without dpsl loads it too, with
`trust_remote_code=True`. They import nothing but torch and transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM
from transformers.models.llava.configuration_llava import LlavaConfig
from transformers.models.llava.modeling_llava import LlavaForConditionalGeneration
from transformers.models.phi3.configuration_phi3 import Phi3Config
from transformers.models.phi3.modeling_phi3 import Phi3ForCausalLM
from transformers.models.qwen2.configuration_qwen2 import Qwen2Config
from transformers.models.qwen2.modeling_qwen2 import Qwen2ForCausalLM

from .block import block_like


class Upcycled(nn.Module):
    """What is added to a dense class: construction ends with the blocks of `config.upcycled` in their layers."""

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        put_blocks(self, config.upcycled)
        add_biases(self, getattr(config, "selection_bias", None) or ())


def put_blocks(model: Any, upcycled: dict[str, Any]) -> None:
    """Replace dense FFNs by blocks whose weights are yet to be filled in.

    Args:
        model: with a decoder whose layers keep their FFN as `mlp`.
        upcycled: what the model's config keeps under that name.
    """
    layers: nn.ModuleList = model.get_decoder().layers
    for index in upcycled["layers"]:
        layers[index].mlp = block_like(layers[index].mlp, upcycled)


def add_biases(model: Any, layers: Sequence[int]) -> None:
    """Give the routers of these layers a bias on their choice, of values yet to be filled in."""
    for index in layers:
        model.get_decoder().layers[index].mlp.router.add_selection_bias()


class UpcycledLlamaConfig(LlamaConfig):  # type: ignore[misc]
    """LlamaConfig, and under `upcycled` how its layers became experts."""

    model_type = "upcycled_llama"
    upcycled: dict[str, Any] | None = None


class UpcycledLlamaForCausalLM(Upcycled, LlamaForCausalLM):  # type: ignore[misc]
    """A Llama with experts."""

    config_class = UpcycledLlamaConfig
    config: UpcycledLlamaConfig


class UpcycledQwen2Config(Qwen2Config):  # type: ignore[misc]
    """Qwen2Config, and under `upcycled` how its layers became experts."""

    model_type = "upcycled_qwen2"
    upcycled: dict[str, Any] | None = None


class UpcycledQwen2ForCausalLM(Upcycled, Qwen2ForCausalLM):  # type: ignore[misc]
    """A Qwen2 with experts."""

    config_class = UpcycledQwen2Config
    config: UpcycledQwen2Config


class UpcycledPhi3Config(Phi3Config):  # type: ignore[misc]
    """Phi3Config, and under `upcycled` how its layers became experts."""

    model_type = "upcycled_phi3"
    upcycled: dict[str, Any] | None = None


class UpcycledPhi3ForCausalLM(Upcycled, Phi3ForCausalLM):  # type: ignore[misc]
    """A Phi3 with experts."""

    config_class = UpcycledPhi3Config
    config: UpcycledPhi3Config


class UpcycledLlavaConfig(LlavaConfig):  # type: ignore[misc]
    """LlavaConfig, and under `upcycled` how its language model's layers became experts."""

    model_type = "upcycled_llava"
    upcycled: dict[str, Any] | None = None


class UpcycledLlavaForConditionalGeneration(Upcycled, LlavaForConditionalGeneration):  # type: ignore[misc]
    """A LLaVA whose language model has experts."""

    config_class = UpcycledLlavaConfig
    config: UpcycledLlavaConfig


CAUSAL = (UpcycledLlamaForCausalLM, UpcycledQwen2ForCausalLM, UpcycledPhi3ForCausalLM)
MULTIMODAL = (UpcycledLlavaForConditionalGeneration,)

for _model_class in CAUSAL:
    _model_class.config_class.register_for_auto_class()
    _model_class.register_for_auto_class("AutoModelForCausalLM")
for _model_class in MULTIMODAL:
    _model_class.config_class.register_for_auto_class()
    _model_class.register_for_auto_class("AutoModelForImageTextToText")
