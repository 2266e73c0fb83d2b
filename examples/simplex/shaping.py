"""Points shaped directly: their logits are the parameters, and the shaping loss is the whole objective (Appendix C.1).

Dimensions: S sources, N points a source, K categories, T steps.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dpsl import DirichletPriorShaping

POINTS = 1000
LEARNING_RATE = 0.1

Optimizer = Literal["Adam", "SGD"]
_OPTIMIZERS = {"Adam": torch.optim.Adam, "SGD": torch.optim.SGD}


@dataclass(frozen=True)
class Case:
    """Priors of the sources of one of the paper's figures.

    Attributes:
        name: of the figure.
        priors: α of each source.
    """

    name: str
    priors: tuple[tuple[float, float, float], ...]

    @property
    def alpha(self) -> NDArray[np.float64]:
        """The priors [S, K]."""
        return np.array(self.priors)


FIGURE_2 = Case("Figure 2", ((1.5, 1.5, 1.5), (3.0, 1.0, 0.5)))
FIGURE_6 = Case("Figure 6", ((5.0, 5.0, 5.0), (0.2, 0.2, 0.2)))
CASES = (FIGURE_2, FIGURE_6)


@dataclass(frozen=True, eq=False)
class Shaped:
    """What came of one case from one start.

    Attributes:
        loss_T: Eq. 4 summed over the sources, before every step and after the last.
        probabilities: by number of steps taken, [S, N, K].
    """

    loss_T: NDArray[np.float64]
    probabilities: dict[int, NDArray[np.float64]]


def shape(case: Case, seed: int, steps: int, keep: Collection[int], optimizer: Optimizer = "Adam") -> Shaped:
    """Move logits that start from N(0, 1) until their softmax follows the prior of its source.

    Args:
        case: the priors.
        seed: of the start.
        steps: of the optimizer, at the paper's learning rate.
        keep: after how many steps probabilities are wanted.
        optimizer: the paper's Adam, or SGD.
    """
    sources, categories = case.alpha.shape
    start_SNK = np.random.default_rng(seed).standard_normal((sources, POINTS, categories))
    logits_SNK = nn.Parameter(torch.from_numpy(start_SNK).float())
    population = torch.arange(sources).repeat_interleave(POINTS)
    prior = DirichletPriorShaping(torch.from_numpy(case.alpha), reduction="sum")
    stepper = _OPTIMIZERS[optimizer]([logits_SNK], lr=LEARNING_RATE)
    losses, probabilities = [], {}
    for step in range(steps + 1):
        loss = prior(logits_SNK.flatten(0, 1), population)
        losses.append(loss.item())
        if step in keep:
            probabilities[step] = logits_SNK.detach().double().softmax(-1).numpy()
        if step < steps:
            stepper.zero_grad()
            loss.backward()
            stepper.step()
    return Shaped(np.array(losses), probabilities)
