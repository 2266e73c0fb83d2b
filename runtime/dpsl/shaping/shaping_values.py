"""The shaping losses of forward passes, kept as they came until somebody wants to see them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dpsl.loss import ShapingResult
from dpsl.ranks import summed
from dpsl.shaping.prior_loss import PriorLoss

_MOST = 64
"""Passes whose values wait at once."""


class ShapingValues:
    """Sums over passes of each shaped layer's weighted loss, and of what the scatter of ranks alone accounts for.

    Args:
        loss: of the prior.
    """

    def __init__(self, loss: PriorLoss) -> None:
        self._loss = loss
        self._waiting: list[tuple[Tensor, Tensor, float, int]] = []
        self._passes_S = torch.zeros(len(loss.layout.shaped), dtype=torch.float64)
        self._sums_2S = torch.zeros((2, len(loss.layout.shaped)), dtype=torch.float64)

    def add(self, result: ShapingResult, factor: float, passes: int, ran: Collection[int]) -> None:
        """Add one pass.

        Args:
            result: of all layers.
            factor: of the schedule.
            passes: whose tokens were ranked together, this one included.
            ran: places of the layers that ran.
        """
        self._waiting.append((result.value_P, result.tokens_P, factor, passes))
        self._passes_S += torch.tensor([float(place in ran) for place in self._loss.layout.shaped])
        if len(self._waiting) == _MOST:
            self._settle()

    def take(self, layers: int, *, across_ranks: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean loss and mean floor over the passes since the last call, of each routed layer."""
        self._settle()
        sums_3S = torch.cat([self._sums_2S, self._passes_S[None]])
        self._sums_2S, self._passes_S = torch.zeros_like(self._sums_2S), torch.zeros_like(self._passes_S)
        loss_S, floor_S, passes_S = (summed(sums_3S) if across_ranks else sums_3S).numpy()
        means = np.zeros((2, layers))
        means[:, list(self._loss.layout.shaped)] = np.stack([loss_S, floor_S]) / passes_S.clip(min=1)
        return means[0], means[1]

    def _settle(self) -> None:
        if not self._waiting:
            return
        value, tokens, factor, passes = zip(*self._waiting, strict=True)
        self._waiting.clear()
        value_TP = torch.stack(value).double().cpu() * torch.tensor(passes, dtype=torch.float64)[:, None]
        self._sums_2S += self._loss.by_layer(
            value_TP, torch.stack(tokens).cpu(), torch.tensor(factor, dtype=torch.float64)
        )
