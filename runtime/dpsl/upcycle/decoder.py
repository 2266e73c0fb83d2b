"""Where a decoder keeps its FFNs, alone or inside a multimodal model."""

from __future__ import annotations

from typing import Any

from torch import nn

from dpsl.errors import UpcycleError
from dpsl.upcycle.block import UpcycledMoE
from dpsl.upcycle.ffn import is_gated

SUPPORTED = "what can be upcycled is a Llama, Qwen2 or Phi3 decoder of transformers, alone or inside a LLaVA"


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """The decoder layers of a language model, or of the one inside a multimodal model.

    Raises:
        UpcycleError: there are none.
    """
    whole: Any = model
    decoder = whole.get_decoder() if hasattr(whole, "get_decoder") else whole
    layers = getattr(decoder, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise UpcycleError(
            type(model).__name__,
            "no decoder layers found",
            SUPPORTED,
        )
    return layers


def dense_ffns(model: nn.Module) -> dict[int, nn.Module]:
    """The gated FFN (gate, up and down projections, fused or not) of each decoder layer that has one, by index.

    Raises:
        UpcycleError: no layer has one, or the model is a mixture of experts already.
    """
    layers = decoder_layers(model)
    ffns = {index: getattr(layer, "mlp", None) for index, layer in enumerate(layers)}
    upcycled = [index for index, ffn in ffns.items() if isinstance(ffn, UpcycledMoE)]
    if upcycled:
        raise UpcycleError(
            type(model).__name__,
            f"layer {upcycled[0]} is upcycled already",
            "upcycle a dense model, and only once",
        )
    dense = {index: ffn for index, ffn in ffns.items() if ffn is not None and is_gated(ffn)}
    if not dense:
        raise UpcycleError(
            type(model).__name__,
            "no layer has an `mlp` with gate, up and down projections",
            SUPPORTED,
        )
    return dense
