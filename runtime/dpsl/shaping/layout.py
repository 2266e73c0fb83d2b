"""Where each layer's token classes lie in a prior table.

Statistics are kept per group: one for each (layer, population), and one more for each layer that leaves any
class unshaped. Within a layer the populations come first, so a token's group is its population, or the last
one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from priorlang.table.prior_table import UNSHAPED, PriorTable


@dataclass(frozen=True, eq=False)
class LayerLayout:
    """One routed layer.

    Attributes:
        layer: decoder-layer index.
        row_C: [C] int64, the prior of each token class; 0 where unshaped, which `group_C` tells.
        group_C: [C] int64, the group of each token class within the layer.
        row_P: [populations] int64, the prior of each shaped group.
        populations: shaped groups of the layer, numbered from 0.
        groups: all groups of the layer.
        first_group: number of the layer's first group over all layers.
    """

    layer: int
    row_C: Tensor
    group_C: Tensor
    row_P: Tensor
    populations: int
    groups: int
    first_group: int

    def on(self, device: torch.device) -> LayerLayout:
        """The same with its tensors on a device."""
        if self.row_C.device == device:
            return self
        tensors = {name: getattr(self, name).to(device) for name in ("row_C", "group_C", "row_P")}
        return replace(self, **tensors)


@dataclass(frozen=True, eq=False)
class TableLayout:
    """All routed layers, and the groups over all of them."""

    layers: tuple[LayerLayout, ...]
    group_layer: tuple[int, ...]
    """For each group, the position of its layer in the table."""
    group_population: tuple[int, ...]
    """For each group, its population in the table; -1 unshaped."""
    group_name: tuple[str, ...]


def table_layout(table: PriorTable) -> TableLayout:
    """The layout of a table."""
    layers: list[LayerLayout] = []
    group_layer: list[int] = []
    group_population: list[int] = []
    for position, layer in enumerate(table.layer.tolist()):
        population_C = table.population[position]
        row_C = table.row[position].astype(np.int64)
        populations, first = np.unique(population_C, return_index=True)
        shaped = populations[populations != UNSHAPED]
        group_C = np.where(population_C == UNSHAPED, len(shaped), np.searchsorted(shaped, population_C))
        here = [*shaped.tolist(), *([UNSHAPED] if (population_C == UNSHAPED).any() else [])]
        layers.append(
            LayerLayout(
                layer,
                torch.from_numpy(row_C.clip(min=0)),
                torch.from_numpy(group_C.astype(np.int64)),
                torch.from_numpy(row_C[first[populations != UNSHAPED]]),
                len(shaped),
                len(here),
                len(group_layer),
            )
        )
        group_layer += [position] * len(here)
        group_population += here
    names = tuple(
        table.header.populations[population]
        if population != UNSHAPED
        else f"layer {table.layer[position]} · unshaped"
        for position, population in zip(group_layer, group_population, strict=True)
    )
    return TableLayout(tuple(layers), tuple(group_layer), tuple(group_population), names)
