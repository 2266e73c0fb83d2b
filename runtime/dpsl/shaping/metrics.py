"""A few numbers about routing since the last time they were asked for."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class ShapingValue(NamedTuple):
    """A layer's weighted shaping loss, and what of it the scatter of ranks alone accounts for."""

    loss: Tensor
    floor: Tensor


_MEANS = ("load_cov", "load_max", "routing_entropy", "dead_fraction", "top1_score")
_SHAPING = ("dpsl", "dpsl_above_floor")
_NUMBERS = 7
"""Sums of a layer beside its experts' loads."""


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

    def add(
        self,
        position: int,
        log_p_NK: Tensor,
        load_K: Tensor,
        counted_N: Tensor,
        shaping: ShapingValue | None,
    ) -> None:
        """Add one pass of a layer.

        Args:
            position: the layer's place among the routed.
            log_p_NK: log-probabilities.
            load_K: top-k slots each expert took.
            counted_N: 1 for a token that counts, 0 for padding.
            shaping: the layer's shaping loss, where it is shaped.
        """
        if self._sums is None:
            shape = (len(self._layers), self._experts + _NUMBERS)
            self._sums = torch.zeros(shape, dtype=torch.float64, device=log_p_NK.device)
        entropy_N = -(log_p_NK.exp() * log_p_NK).nan_to_num(0.0).sum(-1)
        sums = [
            counted_N.sum(),
            (entropy_N * counted_N).sum(),
            (log_p_NK.amax(-1).exp() * counted_N).sum(),
            *((counted_N.new_zeros(()),) * 2 if shaping is None else shaping),
            counted_N.new_full((), shaping is not None),
            # One NaN or +∞ among the logits makes every log-probability of the token NaN.
            (log_p_NK[:, 0].isnan() * counted_N).sum(),
        ]
        row = torch.cat([torch.stack([number.double() for number in sums]), load_K.double()])
        self._sums[position] += row.to(self._sums.device)

    def nonfinite(self, *, across_ranks: bool) -> dict[int, int]:
        """Tokens whose logits held NaN or +∞, of each layer that saw any since the last `take`."""
        sums = self._reduced(across_ranks)
        if sums is None:
            return {}
        counts = sums[:, _NUMBERS - 1].tolist()
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
    tokens, entropy, top1, loss, floor, passes, _, *load = row
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
