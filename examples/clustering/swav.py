"""SwAV (Caron et al., 2020): each view predicts the other's balanced assignment.

Dimensions: S seeds, V = 2 views, K clusters, N points.
"""

from __future__ import annotations

import torch
from network import Networks
from torch import Tensor

TEMPERATURE = 0.1
EPSILON = 0.05
SINKHORN_ITERATIONS = 20
"""Enough for equal clusters; the reference's 3 leave them unequal, and the prior less to do."""


class Swav:
    """The objective of SwAV; it keeps nothing between steps."""

    name = "SwAV"
    temperature = TEMPERATURE
    """Of the cluster probabilities that the prior shapes."""

    def loss(self, networks: Networks, views_S2M: Tensor) -> tuple[Tensor, Tensor]:
        """The loss summed over seeds, and the cosines [S, K, 2N] of the two views, which lie one after the other."""
        cosine_SKM = networks(views_S2M)
        cosine_SKVN = cosine_SKM.unflatten(2, (2, -1))
        target_SKVN = balanced_assignment(cosine_SKVN.detach() / EPSILON)
        predicted_SKVN = (cosine_SKVN / self.temperature).log_softmax(dim=1)
        swapped = (target_SKVN.flip(2) * predicted_SKVN).sum(dim=1)
        return -swapped.mean(dim=(1, 2)).sum(), cosine_SKM

    def branch(self) -> Swav:
        """For another run to continue with."""
        return self


def balanced_assignment(scores_SKVN: Tensor) -> Tensor:
    """Sinkhorn–Knopp: probabilities over K per point whose mean over N is 1/K, per seed and view."""
    mass_SVKN = (scores_SKVN - scores_SKVN.amax(dim=1, keepdim=True)).exp().transpose(1, 2).contiguous()
    clusters, points = mass_SVKN.shape[2:]
    per_point_SV1N = torch.ones_like(mass_SVKN[:, :, :1])
    for _ in range(SINKHORN_ITERATIONS):
        per_cluster_SVK1 = points / clusters / (mass_SVKN @ per_point_SV1N.transpose(2, 3))
        per_point_SV1N = 1 / (per_cluster_SVK1.transpose(2, 3) @ mass_SVKN)
    return (mass_SVKN * per_cluster_SVK1 * per_point_SV1N).transpose(1, 2)
