"""Clustering accuracy: the best one-to-one naming of clusters by classes, found by the Hungarian method.

Dimensions: S seeds, N points, K clusters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Integers = NDArray[np.int64]


def named_clusters(clusters_SN: Integers, labels_SN: Integers) -> Integers:
    """Clusters under the names of the classes they match best, as a whole, per seed."""
    return np.stack([_named(*pair) for pair in zip(clusters_SN, labels_SN, strict=True)])


def accuracy(clusters_SN: Integers, labels_SN: Integers) -> NDArray[np.float64]:
    """Share of points in the right cluster [S], in per cent."""
    return 100 * (named_clusters(clusters_SN, labels_SN) == labels_SN).mean(axis=1)


def _named(clusters_N: Integers, labels_N: Integers) -> Integers:
    kinds = int(max(clusters_N.max(), labels_N.max())) + 1
    together_KK = np.zeros((kinds, kinds))
    np.add.at(together_KK, (clusters_N, labels_N), 1)
    _, class_K = linear_sum_assignment(together_KK, maximize=True)
    return np.asarray(class_K[clusters_N])
