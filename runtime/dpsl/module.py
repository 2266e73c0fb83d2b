"""The shaping loss as a module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dpsl.arguments import Reduction, check_alpha, check_options
from dpsl.ecdf import RankMethod, Target
from dpsl.loss import dirichlet_prior_shaping_loss


class DirichletPriorShaping(nn.Module):
    """`dirichlet_prior_shaping_loss` with its prior and options set once.

    α is a float64 buffer: it moves with the module, but stays exact where the module is cast to half precision.

    Args:
        alpha: [K] or [P, K], positive.
        target: see `dirichlet_prior_shaping_loss`, as are the following.
        ranks: "sort" or "histogram".
        reduction: "tokens", "sum" or "mean".
        min_population: smaller populations are left out.

    Raises:
        ValueError: alpha or an option does not fit.
    """

    alpha: Tensor

    def __init__(
        self,
        alpha: Tensor,
        target: Target = "eq4",
        ranks: RankMethod = "sort",
        reduction: Reduction = "tokens",
        min_population: int = 1,
    ) -> None:
        super().__init__()
        check_options(target, ranks, reduction, min_population)
        self.register_buffer("alpha", check_alpha(alpha).reshape(alpha.shape).clone())
        self.target: Target = target
        self.ranks: RankMethod = ranks
        self.reduction: Reduction = reduction
        self.min_population = min_population

    def forward(self, logits: Tensor, population: Tensor | None = None) -> Tensor:
        """The loss of logits [N, K] whose tokens belong to `population` [N]."""
        return dirichlet_prior_shaping_loss(
            logits,
            self.alpha,
            population,
            target=self.target,
            ranks=self.ranks,
            reduction=self.reduction,
            min_population=self.min_population,
        )

    def extra_repr(self) -> str:
        """Shape of α and the options, for printing."""
        return (
            f"alpha={list(self.alpha.shape)}, target={self.target!r}, ranks={self.ranks!r}, "
            f"reduction={self.reduction!r}, min_population={self.min_population}"
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DirichletPriorShaping:
        exact: Any = self.alpha
        apply: Callable[..., nn.Module] = super()._apply
        apply(fn, recurse)
        if self.alpha.dtype != torch.float64:
            self.alpha = exact.to(self.alpha.device)
        return self
