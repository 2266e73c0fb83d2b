"""The shaping loss on one CPU thread against the paper's path: np.sort, betainc, gradient in closed form.

Value and gradient of float32 logits, 73,728 tokens and 16 experts; α is float64, as in a table. Softmax forward and backward stands beside
them as the least that any router loss costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import betainc, betaln

from dpsl.loss import shaping_loss_and_gradient
from dpsl.marginals import BetaMarginals

TOKENS, EXPERTS, POPULATIONS = 73_728, 16, 4
ROUNDS = 7


def main() -> None:
    """Print, for several α, how many times faster than the paper's path each of ours is."""
    torch.set_num_threads(1)
    print(f"shaping loss, {TOKENS:,} tokens × {EXPERTS} experts, one thread: times the paper's path")
    print(
        f"{'alpha':>6} {'paper ns':>9} {'histogram':>10} {'exact':>7} {'histogram/4':>12} {'exact/4':>8} {'softmax':>8}"
    )
    for alpha in (0.2, 0.75, 1.0, 2.0):
        times = fastest(paths(alpha))
        paper = times.pop("paper")
        ratios = [paper / times[name] for name in ("histogram", "sort", "histogram/4", "sort/4", "softmax")]
        columns = zip(ratios, (10, 7, 12, 8, 8), strict=True)
        nanoseconds = paper / TOKENS / EXPERTS * 1e9
        print(f"{alpha:6} {nanoseconds:9.0f} " + " ".join(f"{ratio:{width}.1f}" for ratio, width in columns))


def paths(alpha: float) -> dict[str, Callable[[], object]]:
    """Each way of computing the loss; /4: four populations with a prior each."""
    logits = torch.randn(TOKENS, EXPERTS, generator=torch.Generator().manual_seed(0))
    one_N = torch.zeros(TOKENS, dtype=torch.int64)
    four_N = torch.arange(TOKENS) % POPULATIONS
    prior_RK = torch.full((1, EXPERTS), alpha)
    priors_RK = alpha * torch.linspace(1, 1.3, POPULATIONS)[:, None].expand(POPULATIONS, EXPERTS)
    one, four = (BetaMarginals.from_alpha(values, torch.float32) for values in (prior_RK, priors_RK))
    made: dict[str, Callable[[], object]] = {
        "paper": lambda: paper(logits.numpy(), prior_RK[0].double().numpy()),
        "softmax": lambda: softmax(logits),
    }
    for ranks in ("histogram", "sort"):
        made[ranks] = lambda ranks=ranks: shaping_loss_and_gradient(
            logits, one_N, one_N, one, populations=1, ranks=ranks
        )
        made[f"{ranks}/4"] = lambda ranks=ranks: shaping_loss_and_gradient(
            logits, four_N, four_N, four, populations=POPULATIONS, ranks=ranks
        )
    return made


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
