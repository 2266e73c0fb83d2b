"""The families that only tests of routers need, beside those of tiny_models."""

from __future__ import annotations

from collections.abc import Callable

import torch
import transformers
from tiny_models import BUILDERS, EXPERTS, LAYERS, TOP_K, VOCABULARY
from torch import nn

_TEXT = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "num_experts_per_tok": TOP_K, "pad_token_id": 0,
}  # fmt: skip


def llama4() -> nn.Module:
    """Sigmoid scores first and logits second, for every expert."""
    config = transformers.Llama4TextConfig(
        **_TEXT, num_local_experts=EXPERTS, intermediate_size=24, intermediate_size_mlp=48,
        interleave_moe_layer_step=1, attention_chunk_size=16, attn_implementation="eager",
    )  # fmt: skip
    return transformers.Llama4ForCausalLM(config)


def qwen3_vl_moe() -> nn.Module:
    """A multimodal wrapper, its routers under language_model."""
    text = {
        **_TEXT, "num_experts": EXPERTS, "intermediate_size": 48, "moe_intermediate_size": 24,
        "decoder_sparse_step": 1,
    }  # fmt: skip
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 16, "out_hidden_size": 32}
    config = transformers.Qwen3VLMoeConfig(text_config=text, vision_config=vision)
    return transformers.Qwen3VLMoeForConditionalGeneration(config)


FAMILIES: dict[str, Callable[[], nn.Module]] = {**BUILDERS, "llama4": llama4, "qwen3-vl-moe": qwen3_vl_moe}
SIGMOID = ("deepseek-v3", "llama4")


def top_k_of(kind: str) -> int:
    """Experts a token of this family."""
    return 1 if kind == "mixtral-top-1" else TOP_K


def build(kind: str, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A tiny mixture of a family, in training mode; routers are widened so that tokens differ in their routing."""
    torch.manual_seed(seed)
    model = FAMILIES[kind]()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("gate.weight", "router.weight")):
                weight.normal_(std=0.5)
    return model.to(dtype).train()
