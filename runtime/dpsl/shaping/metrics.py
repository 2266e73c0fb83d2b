"""A few numbers about routing since the last time they were asked for."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from dpsl.shaping.routed_tokens import RoutedTokens

_MEANS = ("load_cov", "load_max", "routing_entropy", "dead_fraction", "top1_score")
_SHAPING = ("dpsl", "dpsl_above_floor")
_OF_TOKENS = 4
"""Sums of a layer over its tokens: their number, entropy, largest p, and how many held NaN or +∞."""
_NUMBERS = _OF_TOKENS + 3
"""These, and loss, floor and number of passes of the shaping; then come its experts' loads."""


class RoutingMetrics:
    """Running sums over all tokens that count, one row for each routed layer.

    Args:
        layers: decoder-layer indices.
        experts: K.
    """

    def __init__(self, layers: tuple[int, ...], experts: int) -> None:
        self._layers = layers
        self._experts = experts
        self._sums: Tensor | None = None

    def add(self, tokens: RoutedTokens, log_p_NK: Tensor) -> None:
        """Add tokens of any layers.

        Args:
            tokens: their layers, which of them count, and their choices.
            log_p_NK: log-probabilities.
        """
        sums = self._on(log_p_NK.device)
        counted_N = tokens.counted().double()
        entropy_N = -(log_p_NK.exp() * log_p_NK).nan_to_num(0.0).sum(-1)
        # One NaN or +∞ among the logits makes every log-probability of the token NaN.
        spoilt_N = log_p_NK[:, 0].isnan()
        numbers_N4 = torch.stack([counted_N, entropy_N, log_p_NK.amax(-1).exp(), spoilt_N], dim=1)
        sums[:, :_OF_TOKENS].index_add_(0, tokens.layer_N, numbers_N4 * counted_N[:, None])
        cell_Nk = tokens.layer_N[:, None] * self._experts + tokens.indices_Nk
        load_M = sums.new_zeros(len(self._layers) * self._experts)
        load_M.index_add_(0, cell_Nk.flatten(), counted_N[:, None].expand(cell_Nk.shape).flatten())
        sums[:, _NUMBERS:] += load_M.view(-1, self._experts)

    def add_shaping(
        self, shaped: Sequence[int], ran: Collection[int], loss_S: Tensor, floor_S: Tensor
    ) -> None:
        """Add one pass's weighted shaping losses, and what of them the scatter of ranks alone accounts for.

        Args:
            shaped: places of the layers that are shaped.
            ran: places of those that ran.
            loss_S: of each shaped layer.
            floor_S: of each shaped layer.
        """
        sums = self._on(loss_S.device)
        passes = loss_S.new_tensor([place in ran for place in shaped])
        rows = torch.stack([loss_S, floor_S, passes], dim=1).double()
        sums[:, _OF_TOKENS:_NUMBERS].index_add_(0, torch.tensor(shaped, device=sums.device), rows)

    def _on(self, device: torch.device) -> Tensor:
        if self._sums is None:
            shape = (len(self._layers), self._experts + _NUMBERS)
            self._sums = torch.zeros(shape, dtype=torch.float64, device=device)
        return self._sums

    def nonfinite(self, *, across_ranks: bool) -> dict[int, int]:
        """Tokens whose logits held NaN or +∞, of each layer that saw any since the last `take`."""
        sums = self._reduced(across_ranks)
        if sums is None:
            return {}
        counts = sums[:, _OF_TOKENS - 1].tolist()
        return {layer: int(count) for layer, count in zip(self._layers, counts, strict=True) if count}

    def take(self, *, shaped: bool, across_ranks: bool) -> dict[str, float]:
        """The metrics since the last call, and a fresh start; empty where no token was seen."""
        sums, self._sums = self._reduced(across_ranks), None
        if sums is None:
            return {}
        metrics: dict[str, float] = {}
        seen = 0
        for layer, row in zip(self._layers, sums.tolist(), strict=True):
            if row[0] == 0:
                continue
            seen += 1
            here = _layer_metrics(row, self._experts)
            metrics |= {
                f"layer.{layer}.{name}": number
                for name, number in here.items()
                if shaped or name not in _SHAPING
            }
        if not seen:
            return {}
        means = {name: _mean(metrics, name) for name in _MEANS}
        totals = {name: sum(_of_layers(metrics, name)) for name in _SHAPING} if shaped else {}
        return {**totals, **means, **metrics}

    def _reduced(self, across_ranks: bool) -> Tensor | None:
        if not (across_ranks and torch.distributed.is_available() and torch.distributed.is_initialized()):
            return self._sums
        sums = self._sums.clone() if self._sums is not None else self._nothing()
        torch.distributed.all_reduce(sums)
        return sums

    def _nothing(self) -> Tensor:
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        return torch.zeros((len(self._layers), self._experts + _NUMBERS), dtype=torch.float64, device=device)


def _layer_metrics(row: list[float], experts: int) -> dict[str, float]:
    tokens, entropy, top1, _, loss, floor, passes, *load = row
    mean = sum(load) / experts
    deviation = math.sqrt(sum((slots - mean) ** 2 for slots in load) / experts)
    return {
        "dpsl": loss / max(passes, 1),
        "dpsl_above_floor": (loss - floor) / max(passes, 1),
        "load_cov": deviation / mean,
        "load_max": max(load) / mean,
        "routing_entropy": math.exp(entropy / tokens) / experts,
        "dead_fraction": sum(slots == 0 for slots in load) / experts,
        "top1_score": top1 / tokens,
    }


def _mean(metrics: dict[str, float], name: str) -> float:
    numbers = _of_layers(metrics, name)
    return sum(numbers) / len(numbers)


def _of_layers(metrics: dict[str, float], name: str) -> list[float]:
    return [number for key, number in metrics.items() if key.endswith(f".{name}")]
