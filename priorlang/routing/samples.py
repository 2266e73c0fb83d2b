"""A few tokens' routing as it was, and how alike the experts' outputs are: what sums and histograms cannot tell.

The file `samples.safetensors` of a stage, at most about 8 MiB whatever the model's size.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import whole_file
from priorlang.files import write_whole

VERSION = 1
_KEY = "samples"
_ARRAYS = ("group", "probability", "layer", "similarity")


@dataclass(frozen=True, eq=False)
class RoutingSamples:
    """Tokens drawn at random, and experts compared on others. N tokens, K experts, M layers.

    Attributes:
        group: [N] int32, the group of the stage's RoutingStatistics that each token belongs to.
        probability: [N, K] float16, its routing probabilities.
        layer: [M] int32, decoder layers whose experts were compared.
        similarity: [M, K, K] float32, the cosine between two experts' outputs for the same token, its mean over tokens.
        compared: how many tokens that is in each layer.
    """

    group: NDArray[np.int32]
    probability: NDArray[np.float16]
    layer: NDArray[np.int32]
    similarity: NDArray[np.float32]
    compared: int

    @classmethod
    def read(cls, path: Path) -> RoutingSamples:
        """Read what `save` wrote.

        Raises:
            PriorError: the file is missing or holds no samples.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="numpy") as file:
                header = json.loads((file.metadata() or {}).get(_KEY, "{}"))
                arrays = {name: file.get_tensor(name) for name in _ARRAYS}
                return _checked(path, header, arrays)
        except (OSError, SafetensorError, ValueError, KeyError, AttributeError, RecursionError) as error:
            raise _refused(path, f"{path} holds no samples of routing ({error})") from None

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all. Raises PriorError where the place cannot be written."""
        from safetensors.numpy import save

        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        header = json.dumps({"version": VERSION, "compared": self.compared})
        write_whole(path, save(arrays, metadata={_KEY: header}))

    def tokens_of(self, group: int) -> NDArray[np.float64]:
        """[n, K], the routing probabilities of a group's tokens."""
        found: NDArray[np.float64] = self.probability[self.group == group].astype(np.float64)
        return found


def mean_similarity(similarity_KK: NDArray[np.float32]) -> float:
    """The mean over pairs of different experts; NaN for a single expert."""
    experts = len(similarity_KK)
    if experts < 2:
        return float("nan")
    return float(similarity_KK[~np.eye(experts, dtype=bool)].mean())


def _checked(path: Path, header: dict[str, Any], arrays: dict[str, Any]) -> RoutingSamples:
    if header.get("version") != VERSION:
        raise _refused(path, f"{path} holds samples of version {header.get('version')}, not {VERSION}")
    samples = RoutingSamples(**arrays, compared=int(header["compared"]))
    experts = samples.probability.shape[-1]
    fits = (
        samples.probability.shape == (len(samples.group), experts)
        and samples.similarity.shape[:1] == samples.layer.shape
        and (not len(samples.layer) or samples.similarity.shape[1:] == (experts, experts))
    )
    if not fits:
        raise _refused(path, f"{path} is damaged: its arrays do not fit each other")
    return samples


def _refused(path: Path, message: str) -> PriorError:
    return PriorError([Finding("invalid-routing", Severity.ERROR, message, whole_file(str(path)))])
