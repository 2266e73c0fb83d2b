"""Micro-batches of tests of injection, the same wherever they are made."""

from __future__ import annotations

import torch
from explicit import MicroBatch
from tables import modality_table
from tiny_models import EXPERTS, LAYERS, batch

from priorlang.table.prior_table import PriorTable


def micro_batch(seed: int, rank: int = 0) -> MicroBatch:
    """Sequences of which the last ends in padding, and tokens of both modalities."""
    generator = torch.Generator().manual_seed(100 + seed + 1000 * rank)
    inputs = batch(seed + 1000 * rank, padding=4)
    return MicroBatch(inputs, torch.randint(0, 2, inputs["input_ids"].shape, generator=generator))


def table_of(top_k: int, weights: tuple[float, float] = (3.0, 0.7)) -> PriorTable:
    """Vision and language with a prior each, weighted so that shaping is about as strong as the task."""
    return modality_table(LAYERS, EXPERTS, top_k, weights=weights)
