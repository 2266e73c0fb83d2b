"""Tiny mixtures of experts of every kind, built from configs alone: two layers of width 32, four experts."""

from __future__ import annotations

from collections.abc import Callable

import torch
import transformers
from torch import nn

import dpsl

VOCABULARY = 48
EXPERTS = 4
TOP_K = 2
LAYERS = 2

_SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "num_experts_per_tok": TOP_K,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "attn_implementation": "eager",
}


def _of(family: str, **options: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        config = getattr(transformers, f"{family}Config")(**{**_SHAPE, **options})
        return getattr(transformers, f"{family}ForCausalLM")(config)

    return build


def _upcycled() -> nn.Module:
    model = dense("Qwen2")
    dpsl.upcycle(model, experts=EXPERTS, top_k=TOP_K, noise=0.05)
    return model


_QWEN = {
    "num_experts": EXPERTS,
    "intermediate_size": 48,
    "moe_intermediate_size": 24,
    "decoder_sparse_step": 1,
}
_LOCAL = {"num_local_experts": EXPERTS, "intermediate_size": 48}

BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "upcycled": _upcycled,
    "mixtral": _of("Mixtral", **_LOCAL),
    "mixtral-top-1": _of("Mixtral", **_LOCAL, num_experts_per_tok=1),
    "qwen2-moe": _of("Qwen2Moe", **_QWEN, shared_expert_intermediate_size=24),
    "qwen3-moe": _of("Qwen3Moe", **_QWEN, head_dim=8),
    "olmoe": _of("Olmoe", num_experts=EXPERTS, intermediate_size=24),
    "granite-moe": _of("GraniteMoe", **_LOCAL),
    "deepseek-v3": _of(
        "DeepseekV3", n_routed_experts=EXPERTS, n_group=1, topk_group=1, intermediate_size=48,
        moe_intermediate_size=24, first_k_dense_replace=0, n_shared_experts=1, num_key_value_heads=4,
        q_lora_rank=16, kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8,
    ),
    "gpt-oss": _of(
        "GptOss", **_LOCAL, head_dim=8, sliding_window=16, layer_types=["full_attention"] * LAYERS
    ),
    "phimoe": _of("Phimoe", **_LOCAL),
}  # fmt: skip


def tiny(kind: str, *, seed: int = 0) -> nn.Module:
    """A tiny mixture, seeded; routers are widened so that tokens differ in their routing."""
    torch.manual_seed(seed)
    model = BUILDERS[kind]()
    model.train()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("gate.weight", "router.weight")):
                weight.normal_(std=0.5)
    return model


def dense(family: str = "Qwen2", **options: object) -> nn.Module:
    """A tiny dense model."""
    return _of(family, **{"intermediate_size": 48, **options})()


def llava() -> nn.Module:
    """A tiny multimodal model around a dense Qwen2, with tied embeddings."""
    text = transformers.Qwen2Config(**_SHAPE, intermediate_size=48, tie_word_embeddings=True)
    vision = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
    )
    config = transformers.LlavaConfig(
        vision_config=vision, text_config=text, image_token_id=VOCABULARY - 1, tie_word_embeddings=True
    )
    return transformers.LlavaForConditionalGeneration(config)


def batch(
    seed: int = 0, *, sequences: int = 3, length: int = 12, padding: int = 4
) -> dict[str, torch.Tensor]:
    """Input for a causal model; the last sequence ends in padding."""
    generator = torch.Generator().manual_seed(seed)
    input_ids = torch.randint(3, VOCABULARY - 1, (sequences, length), generator=generator)
    attention_mask = torch.ones_like(input_ids)
    if padding:
        input_ids[-1, -padding:] = 0
        attention_mask[-1, -padding:] = 0
    labels = input_ids.masked_fill(attention_mask == 0, -100)
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
