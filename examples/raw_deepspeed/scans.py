"""Scikit-learn's handwritten digits as sequences: 64 pixels, one token each, then the digit's name in letters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PIXELS, SHADES = 64, 17
PAD, END, LETTERS = SHADES, SHADES + 1, SHADES + 2
VOCABULARY = LETTERS + 26
LENGTH = PIXELS + max(map(len, NAMES)) + 1
SHAPE = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
}
"""Of a mixture of experts large enough for these sequences."""


def batches(size: int, rank: int, ranks: int) -> Iterator[dict[str, Any]]:
    """Batches of this rank for ever: each scan once in a round, in a fresh order that all ranks share."""
    scans = load_digits()
    ids_NS = torch.full((len(scans.target), LENGTH), PAD)
    ids_NS[:, :PIXELS] = torch.from_numpy(scans.data).long()
    for row, digit in enumerate(scans.target):
        name = torch.tensor([*(LETTERS + ord(letter) - ord("a") for letter in NAMES[digit]), END])
        ids_NS[row, PIXELS : PIXELS + len(name)] = name
    generator = torch.Generator().manual_seed(0)
    while True:
        own = torch.randperm(len(ids_NS), generator=generator)[rank::ranks]
        for places in own.split(size):
            if len(places) == size:
                yield _batch(ids_NS[places])


def _batch(ids_BS: Tensor) -> dict[str, Any]:
    mask_BS = (ids_BS != PAD).long()
    is_text_BS = torch.arange(LENGTH).expand(ids_BS.shape) >= PIXELS
    return {
        "input_ids": ids_BS,
        "attention_mask": mask_BS,
        "labels": ids_BS.masked_fill(~is_text_BS | (mask_BS == 0), -100),
        "token_attributes": {"mask": mask_BS, "modality": is_text_BS.long()},  # 0: vision, 1: language
    }
