"""The shaping loss of all layers under a prior table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor

from dpsl.histogram import CarriedHistogram
from dpsl.loss import ShapingResult, observe, shaping_loss_and_gradient
from dpsl.marginals import BetaMarginals
from dpsl.ranks import all_ranks
from dpsl.shaping.cdf_memory import Carried
from dpsl.shaping.layout import TableLayout, table_layout
from dpsl.shaping.null_floor import null_floor
from dpsl.shaping.routed_tokens import RoutedTokens
from priorlang.table.prior_table import PriorTable

Ranks: TypeAlias = Literal["sort", "histogram"]
Scope: TypeAlias = Literal["global", "micro"]
SCOPES: tuple[str, ...] = get_args(Scope)
Target: TypeAlias = Literal["eq4", "mid", "ustat"]


@dataclass(eq=False)
class PriorLoss:
    """How logits are compared with a table's priors; see `dpsl.attach` for the choices."""

    table: PriorTable
    ranks: Ranks
    target: Target
    min_population: int
    scope: Scope

    def __post_init__(self) -> None:
        self.layout = table_layout(self.table)
        self._on_device: dict[torch.device, _Tensors] = {}

    def of_pass(self, tokens: RoutedTokens, factor: float, carried: Carried) -> ShapingResult:
        """Weighted loss and gradient of the tokens of all layers.

        Args:
            tokens: of one forward pass, their logits detached.
            factor: of the schedule, on every weight.
            carried: tokens of other passes that these are ranked among.
        """
        layout, marginals, weight_R = self._tensors(tokens.logits_NK.device)
        return shaping_loss_and_gradient(
            tokens.logits_NK,
            tokens.looked_up(layout.row_LC, 0),
            tokens.looked_up(layout.population_LC, -1),
            marginals,
            populations=layout.populations,
            weight_R=weight_R * (factor * carried.passes),
            target=self.target,
            ranks=self.ranks,
            min_population=self.min_population,
            group=self.group(),
            carried=carried.histogram,
            layers=len(layout.shaped),
        )

    def by_layer(self, value_TP: Tensor, tokens_TP: Tensor, factor_T: Tensor) -> Tensor:
        """[2, S], the weighted loss of each shaped layer, and what of it the scatter of ranks alone accounts for.

        Args:
            value_TP: of T passes, the loss of each population, on the CPU.
            tokens_TP: their tokens.
            factor_T: of the schedule.
        """
        grid = (len(value_TP), len(self.layout.shaped), -1)
        kept_TP = tokens_TP * (tokens_TP >= self.min_population)
        kept_TSW = kept_TP.view(grid)
        share_TSW = kept_TSW / kept_TSW.sum(2, keepdim=True).clamp(min=1)
        weight_P = torch.as_tensor(self.table.weight, dtype=torch.float64)[self.layout.prior_P]
        weight_TSW = share_TSW * weight_P.view(1, *grid[1:]) * factor_T[:, None, None]
        floor_TP = null_floor(kept_TP, self.target) * self.table.header.experts
        return torch.stack([(weight_TSW * of_TP.view(grid)).sum((0, 2)) for of_TP in (value_TP, floor_TP)])

    def observe(self, tokens: RoutedTokens) -> CarriedHistogram:
        """Only count the tokens."""
        layout, _, _ = self._tensors(tokens.logits_NK.device)
        population_N = tokens.looked_up(layout.population_LC, -1)
        return observe(tokens.logits_NK, population_N, layout.populations, self.group())

    def _tensors(self, device: torch.device) -> _Tensors:
        if device not in self._on_device:
            weight_R = torch.as_tensor(self.table.weight, dtype=torch.float32, device=device)
            marginals = BetaMarginals.from_table(self.table, device)
            self._on_device[device] = _Tensors(self.layout.on(device), marginals, weight_R)
        return self._on_device[device]

    def group(self) -> torch.distributed.ProcessGroup | None:
        """The ranks whose tokens make up a population; None: this one alone."""
        return None if self.scope == "micro" else all_ranks()


class _Tensors(NamedTuple):
    """What a device holds of the table."""

    layout: TableLayout
    marginals: BetaMarginals
    weight_R: Tensor
