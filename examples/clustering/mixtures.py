"""The three data sets: 1,500 points of three Gaussian clusters each (the paper's Appendix B.1).

Dimensions: S seeds, N points; a point has 2 coordinates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """Three clusters, largest first.

    Attributes:
        name: as in the paper's tables.
        sizes: points of each cluster.
        centres: (x, y) of each.
        major: standard deviation along the line from the origin to the centre.
        minor: standard deviation across it.
        alpha: the prior of Table 1, for the clusters in this order.
    """

    name: str
    sizes: tuple[int, int, int]
    centres: tuple[tuple[float, float], ...]
    major: tuple[float, float, float]
    minor: tuple[float, float, float]
    alpha: tuple[float, float, float]


def _triangle(radius: float) -> tuple[tuple[float, float], ...]:
    turns = (math.radians(degrees) for degrees in (90, 210, 330))
    return tuple((radius * math.cos(turn), radius * math.sin(turn)) for turn in turns)


NON_OVERLAPPING = Mixture(
    name="Non-overlapping",
    sizes=(1000, 250, 250),
    centres=((0.0, 0.0), (5.0, 5.0), (-5.0, 5.0)),
    major=(0.8, 0.8, 0.8),
    minor=(0.8, 0.8, 0.8),
    alpha=(2.0, 1.0, 1.0),
)
OVERLAPPING = Mixture(
    name="Overlapping",
    sizes=(938, 375, 187),
    centres=_triangle(2.4),
    major=(1.0 * 1.0, 0.8 * 2.5, 0.6 * 1.5),
    minor=(1.0, 0.8, 0.6),
    alpha=(1.5, 1.0, 0.5),
)
ELONGATED = Mixture(
    name="Elongated",
    sizes=(833, 500, 167),
    centres=_triangle(3.8),
    major=(0.7 * 3.0, 1.0 * 4.0, 0.5 * 2.0),
    minor=(0.7, 1.0, 0.5),
    alpha=(1.5, 1.0, 0.5),
)
MIXTURES = (NON_OVERLAPPING, OVERLAPPING, ELONGATED)
POINTS = 1500
MISSPECIFIED = (1.5, 1.0, 1.0)
"""The prior of Table 4, for every data set."""


@dataclass(frozen=True, eq=False)
class Samples:
    """One draw of a mixture per seed.

    Attributes:
        points_SN2: standardised coordinates, float32.
        labels_SN: the cluster each point was drawn from, int64, in random order.
    """

    points_SN2: Tensor
    labels_SN: np.ndarray


def sample(mixture: Mixture, generators: list[np.random.Generator]) -> Samples:
    """Draw the mixture once from each seed's generator."""
    in_order_N = np.repeat(np.arange(3), mixture.sizes)
    labels_SN = np.stack([generator.permutation(in_order_N) for generator in generators])
    draws = zip(labels_SN, generators, strict=True)
    points_SN2 = np.stack([_draw(mixture, labels_N, generator) for labels_N, generator in draws])
    points_SN2 -= points_SN2.mean(axis=1, keepdims=True)
    points_SN2 /= points_SN2.std(axis=1, keepdims=True)
    return Samples(torch.from_numpy(points_SN2).float(), labels_SN)


def _draw(mixture: Mixture, labels_N: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    centres_C2 = np.array(mixture.centres)
    turn_C = np.arctan2(centres_C2[:, 1], centres_C2[:, 0])
    outward_C2 = np.stack([np.cos(turn_C), np.sin(turn_C)], axis=1)
    across_C2 = np.stack([-np.sin(turn_C), np.cos(turn_C)], axis=1)
    along_N, aside_N = generator.standard_normal((2, len(labels_N)))
    along_N *= np.array(mixture.major)[labels_N]
    aside_N *= np.array(mixture.minor)[labels_N]
    shift_N2 = along_N[:, None] * outward_C2[labels_N] + aside_N[:, None] * across_C2[labels_N]
    return centres_C2[labels_N] + shift_N2
