"""The shaping loss as a module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dpsl.arguments import Inputs, Reduction, check_alpha, check_options
from dpsl.ecdf import RankMethod, Target
from dpsl.loss import dirichlet_prior_shaping_loss


class DirichletPriorShaping(nn.Module):
    """`dirichlet_prior_shaping_loss` with its prior and options set once, for any categorical output.

    α is a buffer `alpha`, or, where it is learned, the exponential of a parameter `log_alpha` and so always
    positive. Either stays float64 where the module is cast to half precision.

    Args:
        alpha: [K] or [P, K], positive.
        target: see `dirichlet_prior_shaping_loss`, as are the following.
        ranks: "sort" or "histogram".
        reduction: "tokens", "sum" or "mean".
        min_population: smaller populations are left out.
        inputs: "logits" or "probabilities".
        learnable: whether α is a parameter; it then starts at `alpha`.

    Raises:
        ValueError: alpha or an option does not fit.
    """

    def __init__(
        self,
        alpha: Tensor,
        target: Target = "eq4",
        ranks: RankMethod = "sort",
        reduction: Reduction = "tokens",
        min_population: int = 1,
        inputs: Inputs = "logits",
        *,
        learnable: bool = False,
    ) -> None:
        super().__init__()
        check_options(target, ranks, reduction, min_population, inputs)
        if isinstance(alpha, Tensor) and alpha.requires_grad:
            raise ValueError(
                "alpha requires grad, and the module would keep a copy: pass alpha.detach() with learnable=True, "
                "or the tensor itself to forward(…, alpha=…)"
            )
        exact = check_alpha(alpha).detach().reshape(alpha.shape).clone()
        if learnable:
            self.log_alpha = nn.Parameter(exact.log())
        else:
            self.register_buffer("alpha", exact)
        self.learnable = learnable
        self.target: Target = target
        self.ranks: RankMethod = ranks
        self.reduction: Reduction = reduction
        self.min_population = min_population
        self.inputs: Inputs = inputs

    def concentration(self) -> Tensor:
        """α, [K] or [P, K] float64; with its gradient where it is learned."""
        return self.log_alpha.exp() if self.learnable else self.get_buffer("alpha")

    def forward(
        self, logits: Tensor, population: Tensor | None = None, alpha: Tensor | None = None
    ) -> Tensor:
        """The loss of [N, K] logits or probabilities whose tokens belong to `population` [N].

        Args:
            logits: logits, or probabilities.
            population: see `dirichlet_prior_shaping_loss`.
            alpha: a prior for this call alone, in place of the module's: the output of another network, say.
        """
        return dirichlet_prior_shaping_loss(
            logits,
            self.concentration() if alpha is None else alpha,
            population,
            target=self.target,
            ranks=self.ranks,
            reduction=self.reduction,
            min_population=self.min_population,
            inputs=self.inputs,
        )

    def extra_repr(self) -> str:
        """Shape of α and the options, for printing."""
        learned = ", learnable" if self.learnable else ""
        return (
            f"alpha={list(self.concentration().shape)}{learned}, target={self.target!r}, ranks={self.ranks!r}, "
            f"reduction={self.reduction!r}, min_population={self.min_population}, inputs={self.inputs!r}"
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DirichletPriorShaping:
        kept: Any = self.log_alpha if self.learnable else self.get_buffer("alpha")
        exact = kept.data
        apply: Callable[..., nn.Module] = super()._apply
        apply(fn, recurse)
        moved: Any = self.log_alpha if self.learnable else self.get_buffer("alpha")
        if moved.dtype != torch.float64:
            moved.data = exact.to(moved.device)
        return self
