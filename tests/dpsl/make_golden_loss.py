"""Write tests/files/golden/loss.json: marginals, losses and gradients by mpmath, at fifty digits.

    python -m tests.dpsl.make_golden_loss

Written from the definitions alone: probabilities by softmax, ranks by sorting, F by the incomplete Beta function,
the gradient by the chain rule through p.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import mpmath as mp

GOLDEN = Path(__file__).parents[1] / "files" / "golden" / "loss.json"

SHAPES = (0.05, 0.2, 0.75, 1.0, 3.0, 40.0, 1000.0)
LOGITS = (-40.0, -9.0, -2.5, 0.0, 0.75, 6.0, 30.0)
BATCHES = (
    # tokens, α, scale of the logits, target
    (1, (1.0, 1.0), 1.0, "eq4"),
    (5, (0.75, 0.75, 0.75), 1.0, "eq4"),
    (6, (3.0, 1.0, 0.5), 0.1, "mid"),
    (4, (0.05, 1000.0, 2.0), 2.0, "ustat"),
    (7, (0.2, 0.2, 0.2, 0.2), 8.0, "eq4"),
    (3, (1000.0, 1000.0), 0.02, "ustat"),
    (4, (0.3, 5.0, 1.0, 40.0, 0.75), 3.0, "mid"),
    (3, (0.2, 0.5, 1.0), 60.0, "eq4"),
)


def main() -> None:
    """Write the file."""
    mp.mp.dps = 50
    draw = random.Random(0)
    golden = {
        "marginals": [marginal(a, b, ell) for a in SHAPES for b in SHAPES for ell in LOGITS],
        "batches": [
            batch([[round(draw.gauss(0, scale), 6) for _ in alpha] for _ in range(tokens)], alpha, target)
            for tokens, alpha, scale, target in BATCHES
        ],
    }
    parts = (",\n".join(json.dumps(entry) for entry in entries) for entries in golden.values())
    sections = (f'"{name}": [\n{part}\n]' for name, part in zip(golden, parts, strict=True))
    GOLDEN.write_text("{" + ",\n".join(sections) + "}\n")


def marginal(a: float, b: float, ell: float) -> list[float]:
    """a, b, ℓ, F(σ(ℓ)) and h = dF/dℓ."""
    p = 1 / (1 + mp.exp(-mp.mpf(ell)))
    return [a, b, ell, float(cdf(p, a, b)), float(p * (1 - p) * density(p, a, b))]


def batch(logits: list[list[float]], alpha: tuple[float, ...], target: str) -> dict[str, Any]:
    """Eq. 4 of one population, and its gradient by the logits."""
    size, experts = len(logits), len(alpha)
    p = [softmax(row) for row in logits]
    value = mp.mpf(0)
    by_p = [[mp.mpf(0)] * experts for _ in logits]
    for k in range(experts):
        a, b = mp.mpf(alpha[k]), mp.fsum(mp.mpf(other) for j, other in enumerate(alpha) if j != k)
        for place, n in enumerate(sorted(range(size), key=lambda n: p[n][k])):
            t = {
                "eq4": mp.mpf(place + 1) / size,
                "mid": (mp.mpf(place) + mp.mpf("0.5")) / size,
                "ustat": mp.mpf(place) / max(size - 1, 1),
            }[target]
            distance = t - cdf(p[n][k], a, b)
            value += distance**2 / size
            by_p[n][k] = -2 * distance * density(p[n][k], a, b) / size
    gradient = []
    for p_K, by_p_K in zip(p, by_p, strict=True):
        mean = mp.fsum(x * y for x, y in zip(p_K, by_p_K, strict=True))
        gradient.append([float(x * (y - mean)) for x, y in zip(p_K, by_p_K, strict=True)])
    return {
        "logits": logits,
        "alpha": alpha,
        "target": target,
        "value": float(value),
        "gradient": gradient,
    }


def softmax(row: list[float]) -> list[mp.mpf]:
    mass = [mp.exp(mp.mpf(z)) for z in row]
    return [part / mp.fsum(mass) for part in mass]


def cdf(p: mp.mpf, a: float, b: float) -> mp.mpf:
    return mp.betainc(a, b, 0, p, regularized=True)


def density(p: mp.mpf, a: float, b: float) -> mp.mpf:
    return p ** (mp.mpf(a) - 1) * (1 - p) ** (mp.mpf(b) - 1) / mp.beta(a, b)


if __name__ == "__main__":
    main()
