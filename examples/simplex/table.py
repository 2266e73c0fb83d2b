"""What shaping reached, in numbers, over several seeds.

Dimensions: R seeds, S sources, N points, K categories.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from distance import covariance_error, marginal_distance, pair_distance
from numpy.typing import NDArray
from shaping import POINTS, Case

Floats = NDArray[np.float64]
Result = tuple[float | None, Floats]
"""The loss, where there is one, and the probabilities [S, N, K] of one seed."""

_DISTANCES: tuple[Callable[[Floats, Floats], float], ...] = (
    marginal_distance,
    pair_distance,
    covariance_error,
)
_WIDTHS = (28, 22, 26, 17, 17)


def table(case: Case, rows: Mapping[str, Sequence[Result]]) -> str:
    """A table of one figure's case; a row is what every seed gave at one point of the training."""
    priors = " and ".join(f"({', '.join(f'{value:g}' for value in prior)})" for prior in case.priors)
    lines = [
        f"{case.name}: sources with the priors {priors}",
        _line(["", "loss, both sources", "source   KS, marginals", "KS, pairs", "covariance off"]),
    ]
    for name, results in rows.items():
        losses = [loss for loss, _ in results if loss is not None]
        start = [name, _spread(losses, "9.2e") if losses else ""]
        for source, alpha_K in enumerate(case.alpha):
            values = [[distance(points[source], alpha_K) for _, points in results] for distance in _DISTANCES]
            marginals, pairs, covariance = (_spread(value, ".3f") for value in values)
            lines.append(_line([*start, f"   {source + 1}     {marginals}", pairs, covariance]))
            start = ["", ""]
    return "\n".join(lines) + "\n"


def drawn(case: Case, seed: int) -> Result:
    """As many points drawn from the priors themselves: what chance alone leaves."""
    generator = np.random.default_rng(seed)
    return None, np.stack([generator.dirichlet(alpha_K, POINTS) for alpha_K in case.alpha])


def _spread(values: Sequence[float], form: str) -> str:
    return f"{np.mean(values):{form}} ±{np.std(values, ddof=1):{form.lstrip('9')}}"


def _line(parts: Sequence[str]) -> str:
    return "  " + "".join(part.ljust(width) for part, width in zip(parts, _WIDTHS, strict=True)).rstrip()
