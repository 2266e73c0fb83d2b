"""The shaping loss of one layer under a prior table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from dpsl.histogram import CarriedHistogram
from dpsl.loss import ShapingResult, observe, shaping_loss_and_gradient
from dpsl.marginals import BetaMarginals
from dpsl.shaping.cdf_memory import Carried
from dpsl.shaping.layout import LayerLayout
from dpsl.shaping.null_floor import null_floor
from priorlang.table.prior_table import PriorTable

Ranks: TypeAlias = Literal["sort", "histogram"]
Scope: TypeAlias = Literal["global", "micro"]
SCOPES: tuple[str, ...] = get_args(Scope)
Target: TypeAlias = Literal["eq4", "mid", "ustat"]


@dataclass(frozen=True, eq=False)
class PriorLoss:
    """How logits are compared with a table's priors; see `dpsl.attach` for the choices."""

    table: PriorTable
    ranks: Ranks
    target: Target
    min_population: int
    scope: Scope
    _on_device: dict[torch.device, tuple[BetaMarginals, Tensor]] = field(default_factory=dict)

    def of_layer(
        self,
        layout: LayerLayout,
        logits_NK: Tensor,
        class_N: Tensor,
        group_N: Tensor,
        factor: float,
        carried: Carried,
    ) -> ShapingResult:
        """Weighted loss and gradient of one layer's tokens.

        Args:
            layout: the layer, its tensors where the logits are.
            logits_NK: its router's logits, detached.
            class_N: token classes, anything valid where the token does not count.
            group_N: groups within the layer, -1 where the token does not count.
            factor: of the schedule, on every weight.
            carried: tokens of other passes that these are ranked among.
        """
        marginals, weight_R = self._tensors(logits_NK.device)
        return shaping_loss_and_gradient(
            logits_NK,
            layout.row_C[class_N],
            _population(layout, group_N),
            marginals,
            populations=layout.populations,
            weight_R=weight_R * (factor * carried.passes),
            target=self.target,
            ranks=self.ranks,
            min_population=self.min_population,
            group=self.group(),
            carried=carried.histogram,
        )

    def floor(self, layout: LayerLayout, result: ShapingResult, factor: float) -> Tensor:
        """What of a layer's loss the scatter of ranks alone accounts for."""
        _, weight_R = self._tensors(result.value.device)
        kept_P = result.tokens_P * (result.tokens_P >= self.min_population)
        share_P = kept_P / kept_P.sum().clamp(min=1)
        floor_P = null_floor(kept_P, self.target) * self.table.header.experts
        return (share_P * weight_R[layout.row_P] * floor_P).sum() * factor

    def observe(self, layout: LayerLayout, logits_NK: Tensor, group_N: Tensor) -> CarriedHistogram:
        """Only count one layer's tokens."""
        return observe(logits_NK, _population(layout, group_N), layout.populations, self.group())

    def _tensors(self, device: torch.device) -> tuple[BetaMarginals, Tensor]:
        if device not in self._on_device:
            weight_R = torch.as_tensor(self.table.weight, dtype=torch.float32, device=device)
            self._on_device[device] = BetaMarginals.from_table(self.table, device), weight_R
        return self._on_device[device]

    def group(self) -> torch.distributed.ProcessGroup | None:
        """The ranks whose tokens make up a population; None: this one alone."""
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        if self.scope == "micro" or not distributed or torch.distributed.get_world_size() == 1:
            return None
        return torch.distributed.group.WORLD


def _population(layout: LayerLayout, group_N: Tensor) -> Tensor:
    """The population of each token; -1 where it has none."""
    return torch.where(group_N < layout.populations, group_N, -1)
