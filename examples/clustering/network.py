"""One small network per seed, all in one: 2 → 64 → 32 → 3 with ReLU, the last layer cosine prototypes.

Dimensions: S seeds, N points (of one or more views), D features, K clusters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

WIDTHS = (2, 64, 32)
CLUSTERS = 3


class Networks(nn.Module):
    """S networks that share nothing but the call; every parameter has seeds first."""

    def __init__(self, generators: Sequence[np.random.Generator]) -> None:
        super().__init__()

        def drawn(fan_in: int, *shape: int) -> nn.Parameter:
            bound = fan_in**-0.5
            values = np.stack([generator.uniform(-bound, bound, shape) for generator in generators])
            return nn.Parameter(torch.from_numpy(values).float())

        entered, hidden, features = WIDTHS
        self.weight1_SH2 = drawn(entered, hidden, entered)
        self.bias1_SH1 = drawn(entered, hidden, 1)
        self.weight2_SDH = drawn(hidden, features, hidden)
        self.bias2_SD1 = drawn(hidden, features, 1)
        directions = np.stack([g.standard_normal((CLUSTERS, features)) for g in generators])
        self.prototypes_SKD = nn.Parameter(normalize(torch.from_numpy(directions).float(), dim=2))

    def features(self, points_S2N: Tensor) -> Tensor:
        """Features [S, D, N] of unit length."""
        hidden_SHN = torch.baddbmm(self.bias1_SH1, self.weight1_SH2, points_S2N).relu_()
        features_SDN = torch.baddbmm(self.bias2_SD1, self.weight2_SDH, hidden_SHN).relu_()
        return features_SDN * features_SDN.square().sum(dim=1, keepdim=True).clamp(min=1e-12).rsqrt()

    def prototypes(self) -> Tensor:
        """Prototypes [S, K, D] of unit length."""
        return normalize(self.prototypes_SKD, dim=2)

    def forward(self, points_S2N: Tensor) -> Tensor:
        """Cosines [S, K, N] of every point to every prototype."""
        return self.prototypes() @ self.features(points_S2N)

    def assign(self, points_S2N: Tensor) -> Tensor:
        """The nearest prototype of each point, int64 [S, N]."""
        with torch.no_grad():
            return self(points_S2N).argmax(dim=1)
