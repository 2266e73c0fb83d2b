"""Sums over the tokens of each layer and token class: what any other prior over the same classes is held to."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAXIMUM_SUMS = 2**21
"""Layers × token classes × experts up to which sums are kept for each class: 64 MiB in all."""


def keeps_classes(layers: int, classes: int, experts: int) -> bool:
    """Whether there are few enough token classes to keep sums of each."""
    return layers * classes * experts <= MAXIMUM_SUMS


@dataclass(frozen=True, eq=False)
class ClassSums:
    """Sums over tokens. L routed layers, C token classes in the order of the prior table, K experts.

    Attributes:
        tokens: [L, C] int64.
        load: [L, C, K] int64, top-k slots taken.
        top: [L, C, K] int64, tokens with their largest p here.
        probability: [L, C, K] float64, Σ p.
        log_probability: [L, C, K] float64, Σ ln p.
    """

    tokens: NDArray[np.int64]
    load: NDArray[np.int64]
    top: NDArray[np.int64]
    probability: NDArray[np.float64]
    log_probability: NDArray[np.float64]

    @classmethod
    def of(
        cls, *, tokens: ArrayLike, load: ArrayLike, top: ArrayLike, probability: ArrayLike,
        log_probability: ArrayLike,
    ) -> ClassSums:  # fmt: skip
        """From anything array-like, in the dtypes of this class."""
        return cls(
            np.asarray(tokens, np.int64),
            np.asarray(load, np.int64),
            np.asarray(top, np.int64),
            np.asarray(probability, np.float64),
            np.asarray(log_probability, np.float64),
        )


CLASS_ARRAYS = tuple(field.name for field in fields(ClassSums))
"""Names of the arrays of ClassSums."""
