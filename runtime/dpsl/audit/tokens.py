"""Tokens of the micro-step: of each population, padding, and what the model was told of either."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dpsl.ranks import summed
from dpsl.shaper import Shaper
from priorlang.table.prior_table import UNSHAPED


@dataclass(frozen=True)
class TokenCounts:
    """Over all ranks.

    Attributes:
        counted: tokens that count.
        padding: tokens described as padding.
        masked: tokens that count and are zeros of the attention mask that the model was given; None: nobody was told.
        populations: name and tokens of each.
        shaped: by layer, tokens of shaped classes.
    """

    counted: int
    padding: int
    masked: int | None
    populations: list[dict[str, Any]]
    shaped: dict[int, int]


def token_counts(shaper: Shaper | None, mask_BS: Tensor | None) -> TokenCounts:
    """The counts of the latest forward pass. Every rank must ask.

    Args:
        shaper: who was told of the tokens; None: nobody was.
        mask_BS: the attention mask that the model was given.
    """
    if shaper is None:
        return TokenCounts(0, 0, None, [], {})
    table = shaper.table
    class_N = shaper.latest_classes()
    per_class = torch.zeros(table.class_count + 2, dtype=torch.int64)
    if class_N is not None:
        per_class[:-1] = torch.bincount(class_N.cpu() + 1, minlength=table.class_count + 1)
        if mask_BS is not None and mask_BS.numel() == len(class_N):
            per_class[-1] = int(((mask_BS.flatten() == 0).cpu() & (class_N >= 0).cpu()).sum())
    padding, *of_class, masked = summed(per_class).tolist()
    counts = np.zeros(table.population_count, np.int64)
    shaped: dict[int, int] = {}
    for layer, populations in zip(table.layer.tolist(), table.population, strict=True):
        has = populations != UNSHAPED
        np.add.at(counts, populations[has], np.array(of_class)[has])
        shaped[layer] = int(np.array(of_class)[has].sum())
    return TokenCounts(
        counted=sum(of_class),
        padding=padding,
        masked=masked,
        populations=[
            {"name": name, "tokens": int(count)}
            for name, count in zip(table.header.populations, counts, strict=True)
        ],
        shaped=shaped,
    )
