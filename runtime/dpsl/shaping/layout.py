"""Where each layer's token classes lie in a prior table.

Statistics are kept per group: one for each (layer, population), and one more for each layer that leaves any
class unshaped. The loss counts populations on a grid, as many to every shaped layer, so that all layers are one call.

Dimensions: L routed layers, C token classes, S shaped layers, W populations of the layer that has most, P = S·W.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from priorlang.table.prior_table import UNSHAPED, PriorTable


@dataclass(frozen=True, eq=False)
class TableLayout:
    """All routed layers, and the groups over all of them.

    Attributes:
        row_LC: the prior of each token class, int64; 0 where unshaped, which `population_LC` tells.
        group_LC: the group of each, int64.
        population_LC: its population on the grid, int64; -1 unshaped.
        prior_P: the prior of each population, int64; 0 for those that a layer lacks.
        shaped: places of the layers that have populations.
        group_layer: for each group, the place of its layer in the table.
        group_population: for each group, its population in the table; -1 unshaped.
        group_name: for each group, how people know it.
    """

    row_LC: Tensor
    group_LC: Tensor
    population_LC: Tensor
    prior_P: Tensor
    shaped: tuple[int, ...]
    group_layer: tuple[int, ...]
    group_population: tuple[int, ...]
    group_name: tuple[str, ...]

    @property
    def populations(self) -> int:
        """P."""
        return len(self.prior_P)

    def on(self, device: torch.device) -> TableLayout:
        """The same with its tensors on a device."""
        names = ("row_LC", "group_LC", "population_LC", "prior_P")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def table_layout(table: PriorTable) -> TableLayout:
    """The layout of a table."""
    group_LC, local_LC = np.empty_like(table.population, np.int64), np.empty_like(table.population, np.int64)
    group_layer: list[int] = []
    group_population: list[int] = []
    priors: list[list[int]] = []
    for place, population_C in enumerate(table.population):
        numbers, first = np.unique(population_C[population_C != UNSHAPED], return_index=True)
        local_LC[place] = np.where(
            population_C == UNSHAPED, len(numbers), np.searchsorted(numbers, population_C)
        )
        group_LC[place] = local_LC[place] + len(group_layer)
        here = [*numbers.tolist(), *([UNSHAPED] if (population_C == UNSHAPED).any() else [])]
        group_layer += [place] * len(here)
        group_population += here
        priors.append(table.row[place][population_C != UNSHAPED][first].astype(int).tolist())
    shaped = tuple(place for place, of_layer in enumerate(priors) if of_layer)
    width = max((len(priors[place]) for place in shaped), default=0)
    population_LC = np.full_like(local_LC, -1)
    for number, place in enumerate(shaped):
        population_LC[place] = np.where(
            table.population[place] == UNSHAPED, -1, local_LC[place] + number * width
        )
    prior_SW = [priors[place] + [0] * (width - len(priors[place])) for place in shaped]
    return TableLayout(
        torch.from_numpy(table.row.astype(np.int64).clip(min=0)),
        torch.from_numpy(group_LC),
        torch.from_numpy(population_LC),
        torch.tensor(prior_SW, dtype=torch.int64).reshape(-1),
        shaped,
        tuple(group_layer),
        tuple(group_population),
        tuple(
            table.header.populations[population]
            if population != UNSHAPED
            else f"layer {table.layer[place]} · unshaped"
            for place, population in zip(group_layer, group_population, strict=True)
        ),
    )
