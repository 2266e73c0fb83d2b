"""Units whose fits agree → clusters, each with the fit of all its tokens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from priorlang.fit.divergence import distances
from priorlang.fit.units import Units
from priorlang.routing.dirichlet_fit import fit_dirichlet

_ROUNDS = 4
_TWICE_AS_FAR = 4.0
"""KL grows with the square of a distance, so two units within a radius of one fit are within four of each other."""


def clustered(units: Units, radius: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Gather units within KL `radius` of their cluster's fit, over what chance alone shows.

    Units with the most tokens lead; then clusters that can be one are joined, each unit goes to the nearest, and
    clusters are fitted anew, as in k-means.

    Returns:
        [U], the cluster of each unit; and [N, K], α of each cluster.
    """
    member = _led(units, radius)
    for _ in range(_ROUNDS):
        member, alpha = _fitted_anew(units, _joined(units, member, radius))
        if not len(alpha):
            break
        moved = distances(units.fitted, alpha).argmin(1)
        if np.array_equal(moved, member):
            break
        member = moved
    return _fitted_anew(units, member)


def _led(units: Units, radius: float) -> NDArray[np.int64]:
    member = np.full(len(units.tokens), -1)
    leaders: list[int] = []
    for unit in np.argsort(-units.tokens, kind="stable"):
        near = distances(units.fitted[[unit]], units.fitted[leaders])[0] if leaders else np.array([np.inf])
        nearest = int(near.argmin())
        if near[nearest] > radius + units.noise[unit]:
            nearest = len(leaders)
            leaders.append(int(unit))
        member[unit] = nearest
    return member


def _joined(units: Units, member: NDArray[np.int64], radius: float) -> NDArray[np.int64]:
    """Join clusters where one fit does for all units of both."""
    member, alpha = _fitted_anew(units, member)
    reach = _TWICE_AS_FAR * radius + units.noise.max(initial=0.0)
    for first, second in np.argwhere(np.triu(reach >= distances(alpha, alpha).T, 1)):
        both = np.flatnonzero((member == first) | (member == second))
        if not len(both):
            continue
        joint = _fit_of(units, both)[None, :]
        if (distances(units.fitted[both], joint)[:, 0] <= radius + units.noise[both]).all():
            member[both] = second
    return member


def _fitted_anew(units: Units, member: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    used, member = np.unique(member, return_inverse=True)
    alpha = [_fit_of(units, np.flatnonzero(member == number)) for number in range(len(used))]
    return member.ravel(), np.array(alpha).reshape(-1, units.fitted.shape[1])


def _fit_of(units: Units, chosen: NDArray[np.intp]) -> NDArray[np.float64]:
    tokens = units.tokens[chosen]
    return fit_dirichlet((units.mean_log_p[chosen] * tokens[:, None]).sum(0) / tokens.sum())
