"""What is fitted: tokens that were counted together, and the Dirichlet that fits each best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from priorlang.routing.dirichlet_fit import fit_dirichlet
from priorlang.routing.run import RunRouting

NONE = -1
MAXIMUM_UNITS = 4000
"""Cells that are fitted one by one; with more, cells that the run's prior treats alike are fitted together."""
_DEVIATIONS = 2.33


@dataclass(frozen=True, eq=False)
class Units:
    """U units over L layers × C token classes, K experts.

    Attributes:
        of_cell: [L, C], the unit of each cell; -1 where it has too few tokens to fit.
        tokens: [U] int64.
        mean_log_p: [U, K].
        fitted: [U, K], α of each.
        noise: [U], KL to the fit that a sample of this size shows by chance, at 1 %.
        pooled: whether a unit may be several token classes that the run did not count apart.
    """

    of_cell: NDArray[np.int64]
    tokens: NDArray[np.int64]
    mean_log_p: NDArray[np.float64]
    fitted: NDArray[np.float64]
    noise: NDArray[np.float64]
    pooled: bool


def units_of(run: RunRouting) -> Units:
    """Every cell by itself, where the run counted token classes apart; else its populations."""
    groups = run.cell_groups()
    classes = run.statistics.classes
    by_class = classes is not None and int((classes.tokens > 0).sum()) <= MAXIMUM_UNITS
    if classes is not None and by_class:
        number = np.arange(groups.size).reshape(groups.shape)
        tokens, sums = classes.tokens.ravel(), classes.log_probability.reshape(groups.size, -1)
    else:
        number, tokens, sums = groups, run.statistics.tokens, run.statistics.log_probability
    experts = sums.shape[1]
    enough = np.flatnonzero(tokens >= 2 * experts)
    place = np.full(len(tokens), NONE)
    place[enough] = np.arange(len(enough))
    mean_log_p = sums[enough] / tokens[enough, None]
    fitted = np.array([fit_dirichlet(row) for row in mean_log_p]).reshape(-1, experts)
    noise = (experts + _DEVIATIONS * np.sqrt(2.0 * experts)) / (2.0 * tokens[enough])
    return Units(place[number], tokens[enough], mean_log_p, fitted, noise, not by_class)
