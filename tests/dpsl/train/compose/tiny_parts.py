"""Checkpoints of tiny text models and of a tiny CLIP, as the hub has large ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

IMAGE, PATCH = 16, 8

_SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}


def write_text_model(
    folder: Path, family: str, *, vocabulary: int | None = None, tied: bool = True
) -> nn.Module:
    """A text model with its tokenizer; without `vocabulary` its table has no row to spare."""
    tokenizer = _tokenizer()
    config = getattr(transformers, f"{family}Config")(
        **_SHAPE,
        vocab_size=vocabulary or len(tokenizer),
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model: nn.Module = _seeded(getattr(transformers, f"{family}ForCausalLM"), config)
    _save(model, folder)
    tokenizer.save_pretrained(folder)
    return model


def write_clip(folder: Path) -> nn.Module:
    """A whole CLIP, text tower included, with its image processor."""
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = transformers.CLIPConfig(
        text_config={**size, "vocab_size": 16},
        vision_config={**size, "image_size": IMAGE, "patch_size": PATCH, "initializer_range": 0.2},
        projection_dim=16,
    )
    model: nn.Module = _seeded(transformers.CLIPModel, config)
    _save(model, folder)
    square = {"height": IMAGE, "width": IMAGE}
    transformers.CLIPImageProcessorPil(size=square, crop_size=square).save_pretrained(folder)
    return model


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(
        models.BPE(
            vocab={token: index for index, token in enumerate(["<pad>", "</s>", *alphabet])}, merges=[]
        )
    )
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", eos_token="</s>")


def _seeded(model_class: Any, config: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return model_class(config)


def _save(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)
