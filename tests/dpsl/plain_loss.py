"""Eq. 4 as a reader of the paper would write it, in NumPy and SciPy, and logits to try it on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import betainc, betaln
from torch import Tensor

import dpsl

TARGETS = {
    "eq4": lambda j, size: j / size,
    "mid": lambda j, size: (j - 0.5) / size,
    "ustat": lambda j, size: (j - 1) / (size - 1),
}
ALPHA_PK = torch.tensor([[0.75, 0.5, 2.0], [1.0, 1.0, 1.0], [3.0, 1.0, 0.5]], dtype=torch.float64)


def reference(
    logits: NDArray[np.float64], alpha: NDArray[np.float64], target: str = "eq4"
) -> tuple[float, NDArray[np.float64]]:
    """Eq. 4 of one population and its gradient, through p, as a reader of the paper would write it."""
    mass = np.exp(logits - logits.max(1, keepdims=True))
    p = mass / mass.sum(1, keepdims=True)
    size, experts = p.shape
    value, gradient_p = 0.0, np.empty_like(p)
    for k in range(experts):
        a, b = alpha[k], alpha.sum() - alpha[k]
        order = np.argsort(p[:, k], kind="stable")
        sorted_p = p[order, k]
        distance = TARGETS[target](np.arange(1, size + 1), size) - betainc(a, b, sorted_p)
        density = np.exp((a - 1) * np.log(sorted_p) + (b - 1) * np.log1p(-sorted_p) - betaln(a, b))
        value += (distance**2).mean()
        gradient_p[order, k] = -2 / size * distance * density
    return value, p * (gradient_p - (p * gradient_p).sum(1, keepdims=True))


def ours(logits: Tensor, alpha: Tensor, *args: Any, **options: Any) -> tuple[float, NDArray[np.float64]]:
    leaf = logits.clone().requires_grad_()
    value = dpsl.dirichlet_prior_shaping_loss(leaf, alpha, *args, **options)
    value.backward()
    assert leaf.grad is not None
    assert leaf.grad.dtype == logits.dtype
    return value.item(), leaf.grad.double().numpy()


def draw(tokens: int, experts: int, scale: float = 1.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tokens, experts, generator=generator, dtype=torch.float64) * scale


def mixed_alpha(experts: int, seed: int = 0, low: float = 0.05, high: float = 1000.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    span = torch.rand(experts, generator=generator, dtype=torch.float64)
    return torch.exp(np.log(low) + span * np.log(high / low))


def alpha_of(kind: float | None, experts: int) -> Tensor:
    return mixed_alpha(experts) if kind is None else torch.full((experts,), kind, dtype=torch.float64)


def apart(logits: Tensor) -> Tensor:
    """The tokens whose ranks float32 cannot confuse: no two ℓ of an expert within its rounding."""
    total = torch.logsumexp(logits.double(), 1, keepdim=True)
    ell = logits.double() - total - torch.log(-torch.expm1(logits.double() - total))
    sorted_ell, order = ell.sort(dim=0)
    close = sorted_ell.diff(dim=0) < 1e-6 * (1 + sorted_ell[1:].abs())
    keep = torch.ones(len(logits), dtype=torch.bool)
    keep[order[1:][close]] = False
    return logits[keep]
