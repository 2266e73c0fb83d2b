"""The shaping loss on one CPU thread against the paper's path: np.sort, betainc, gradient in closed form.

Value and gradient of float32 logits, 73,728 tokens and 16 experts; α is float64, as in a table. Once by torch operations
alone, once by the loops that torch.compile makes of them, which is what such sizes run by themselves where there is a
C++ compiler. Softmax forward and backward stands beside them as the least that any router loss costs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import betainc, betaln

from dpsl.kernels import VARIABLE
from dpsl.loss import shaping_loss_and_gradient
from dpsl.marginals import BetaMarginals

TOKENS, EXPERTS, POPULATIONS = 73_728, 16, 4
ROUNDS = 9
WAYS = tuple(
    (kernels, ranks, populations)
    for kernels in ("torch", "compile")
    for ranks in ("histogram", "sort")
    for populations in (1, POPULATIONS)
)


def main() -> None:
    """Print, for several α, how many times faster than the paper's path each of ours is."""
    torch.set_num_threads(1)
    print(
        f"shaping loss, {TOKENS:,} tokens × {EXPERTS} experts, one thread: times as fast as the paper's path"
    )
    print("(ns an element of the paper's path; /4: four populations with a prior each)")
    names = [_name(*way) for way in WAYS]
    print(f"{'alpha':>6} {'paper ns':>9} " + " ".join(f"{name:>16}" for name in names) + f" {'softmax':>8}")
    for alpha in (0.2, 0.75, 1.0, 2.0):
        times = fastest(paths(alpha))
        nanoseconds = times["paper"] / TOKENS / EXPERTS * 1e9
        ratios = " ".join(f"{times['paper'] / times[name]:16.1f}" for name in names)
        print(f"{alpha:6} {nanoseconds:9.0f} {ratios} {times['paper'] / times['softmax']:8.1f}")


def _name(kernels: str, ranks: str, populations: int) -> str:
    return f"{kernels} {'exact' if ranks == 'sort' else 'hist'}" + (
        f"/{populations}" if populations > 1 else ""
    )


def paths(alpha: float) -> dict[str, Callable[[], object]]:
    """Each way of computing the loss, compiled and warm."""
    logits = torch.randn(TOKENS, EXPERTS, generator=torch.Generator().manual_seed(0))
    prior_K = np.full(EXPERTS, alpha)
    made: dict[str, Callable[[], object]] = {
        "paper": lambda: paper(logits.numpy(), prior_K),
        "softmax": lambda: softmax(logits),
    }
    for way in WAYS:
        made[_name(*way)] = _ours(logits, alpha, *way)
        made[_name(*way)]()
    return made


def _ours(
    logits: torch.Tensor, alpha: float, kernels: str, ranks: str, populations: int
) -> Callable[[], object]:
    population_N = torch.arange(TOKENS) % populations
    prior_RK = alpha * torch.linspace(1, 1.3, populations)[:, None].expand(populations, EXPERTS)
    marginals = BetaMarginals.from_alpha(prior_RK, torch.float32)

    def run() -> object:
        os.environ[VARIABLE] = kernels
        return shaping_loss_and_gradient(
            logits, population_N, population_N, marginals, populations=populations, ranks=ranks
        )

    return run


def paper(logits: NDArray[np.float32], alpha: NDArray[np.float64]) -> tuple[float, NDArray[np.float32]]:
    """Eq. 4 and its gradient in NumPy and SciPy."""
    mass = np.exp(logits - logits.max(1, keepdims=True))
    p = mass / mass.sum(1, keepdims=True)
    tokens, experts = p.shape
    value, gradient_p = 0.0, np.empty_like(p)
    place = np.arange(1, tokens + 1, dtype=np.float32) / tokens
    for k in range(experts):
        a, b = alpha[k], alpha.sum() - alpha[k]
        order = np.argsort(p[:, k])
        sorted_p = p[order, k]
        distance = place - betainc(a, b, sorted_p)
        density = np.exp((a - 1) * np.log(sorted_p) + (b - 1) * np.log1p(-sorted_p) - betaln(a, b))
        value += float((distance**2).mean())
        gradient_p[order, k] = -2 / tokens * distance * density
    return value, p * (gradient_p - (p * gradient_p).sum(1, keepdims=True))


def softmax(logits: torch.Tensor) -> torch.Tensor:
    """Softmax forward and backward."""
    leaf = logits.detach().requires_grad_()
    p = leaf.softmax(1)
    return torch.autograd.grad(p, leaf, p.detach())[0]


def fastest(functions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Fewest CPU seconds of each, taken in turns so that other load falls on all alike."""
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(ROUNDS):
        for name, function in functions.items():
            start = time.process_time()
            function()
            best[name] = min(best[name], time.process_time() - start)
    return best


if __name__ == "__main__":
    main()
