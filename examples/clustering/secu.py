"""SeCu (Qian, 2023): hard labels under an entropy constraint teach features and prototypes apart.

Dimensions: S seeds, V = 2 views, K clusters, N points, M = V·N.
"""

from __future__ import annotations

import torch
from network import CLUSTERS, Networks
from torch import Tensor
from torch.nn.functional import one_hot

TEMPERATURE = 0.05
HARD_LABEL_WEIGHT = 0.2
"""τ: of the last epoch's label; the rest is the other view's prediction."""
ENTROPY_WEIGHT = 0.12
"""α / N of the entropy of cluster sizes, 6000 / 50000 in the reference."""
CHUNK = 128
"""Labels chosen at a time. All at once they would all leave for the same small cluster."""


class SeCu:
    """The objective of SeCu, with the labels of the last epoch."""

    name = "SeCu"
    temperature = 1.0
    """Of the cluster probabilities that the prior shapes."""

    def __init__(self, labels_SN: Tensor | None = None) -> None:
        self.labels_SN = labels_SN

    def loss(self, networks: Networks, views_S2M: Tensor) -> tuple[Tensor, Tensor]:
        """The loss summed over seeds, and the cosines [S, K, 2N] of the two views, which lie one after the other."""
        features_SDM = networks.features(views_S2M)
        prototypes_SKD = networks.prototypes()
        cosine_SKM = prototypes_SKD @ features_SDM
        agreement_SKN = cosine_SKM.detach().unflatten(2, (2, -1)).mean(dim=2)
        last_SN = self.labels_SN
        self.labels_SN = choose_labels(agreement_SKN, last_SN)
        taught_SN = self.labels_SN if last_SN is None else last_SN

        features_loss = _teach_features(prototypes_SKD.detach() @ features_SDM, taught_SN)
        prototype_loss = _teach_prototypes(prototypes_SKD @ features_SDM.detach(), self.labels_SN)
        return features_loss + prototype_loss, cosine_SKM

    def branch(self) -> SeCu:
        """For another run to continue with."""
        return SeCu(self.labels_SN)


def choose_labels(agreement_SKN: Tensor, last_SN: Tensor | None) -> Tensor:
    """Nearest prototypes, less what a label costs in the entropy of cluster sizes, in chunks of points in turn.

    Args:
        agreement_SKN: mean cosine over the views.
        last_SN: labels of the last epoch; None in the first.
    """
    seeds, _, points = agreement_SKN.shape
    labels_SN = torch.empty((seeds, points), dtype=torch.int64)
    if last_SN is None:
        counts_SK = torch.zeros((seeds, CLUSTERS))
    else:
        counts_SK = one_hot(last_SN, CLUSTERS).sum(1).float()
    for start in range(0, points, CHUNK):
        chunk = slice(start, min(start + CHUNK, points))
        cost_SKn = -agreement_SKN[:, :, chunk]
        if last_SN is None:
            total_S1 = counts_SK.sum(1, keepdim=True) + 1
            joining_SK = _negentropy(counts_SK + 1, total_S1) - _negentropy(counts_SK, total_S1)
            cost_SKn = cost_SKn + ENTROPY_WEIGHT * points * joining_SK[:, :, None]
        else:
            own_SKn = one_hot(last_SN[:, chunk], CLUSTERS).transpose(1, 2)
            joining_SK = _negentropy(counts_SK + 1, points) - _negentropy(counts_SK, points)
            leaving_SK = _negentropy(counts_SK - 1, points) - _negentropy(counts_SK, points)
            moving_SKn = joining_SK[:, :, None] + (leaving_SK[:, :, None] * own_SKn).sum(1, keepdim=True)
            cost_SKn = cost_SKn + ENTROPY_WEIGHT * points * moving_SKn * (1 - own_SKn)
            counts_SK = counts_SK - own_SKn.sum(2)
        labels_SN[:, chunk] = cost_SKn.argmin(dim=1)
        counts_SK = counts_SK + one_hot(labels_SN[:, chunk], CLUSTERS).sum(1)
    return labels_SN


def _negentropy(counts_SK: Tensor, total: Tensor | int) -> Tensor:
    share_SK = (counts_SK / total).clamp(min=0)
    return torch.xlogy(share_SK, share_SK)


def _teach_features(cosine_SKM: Tensor, labels_SN: Tensor) -> Tensor:
    """Cross-entropy to the label mixed with the other view's prediction, prototypes held fixed."""
    log_SKVN = (cosine_SKM / TEMPERATURE).log_softmax(dim=1).unflatten(2, (2, -1))
    hard_SKVN = one_hot(labels_SN, CLUSTERS).transpose(1, 2)[:, :, None]
    with torch.no_grad():
        target_SKVN = HARD_LABEL_WEIGHT * hard_SKVN + (1 - HARD_LABEL_WEIGHT) * log_SKVN.exp().flip(2)
    return -(target_SKVN * log_SKVN).sum(dim=1).mean(dim=(1, 2)).sum()


def _teach_prototypes(cosine_SKM: Tensor, labels_SN: Tensor) -> Tensor:
    """Cross-entropy to the label in which only the label's own prototype moves: the stable discrimination."""
    own_SKM = one_hot(labels_SN, CLUSTERS).transpose(1, 2).repeat(1, 1, 2).bool()
    log_SKM = (torch.where(own_SKM, cosine_SKM, cosine_SKM.detach()) / TEMPERATURE).log_softmax(dim=1)
    return -(log_SKM * own_SKM).sum(dim=1).mean(dim=1).sum()
