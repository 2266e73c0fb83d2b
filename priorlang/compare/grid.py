"""Two tables laid over one grid of cells, matched by names: layers, attributes and members of either.

An attribute that one side lacks does not matter to it: its prior is the same for every member. A layer
or a member that one side lacks has no cells there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from priorlang.table.prior_table import PriorTable, TableAttribute

ABSENT = -2


@dataclass(frozen=True)
class Grid:
    """The cells of two tables side by side.

    Attributes:
        layers: the decoder layers of either, sorted.
        attributes: those of either with the members of either, those of `before` first.
        rows: for each side, [L, C] the prior of each cell; -1 unshaped, -2 no such cell.
        populations: for each side, [L, C] the population; -1 and -2 as above.
    """

    layers: tuple[int, ...]
    attributes: tuple[TableAttribute, ...]
    rows: tuple[NDArray[np.int64], NDArray[np.int64]]
    populations: tuple[NDArray[np.int64], NDArray[np.int64]]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of members of each attribute; (1,) without attributes."""
        return tuple(len(attribute.members) for attribute in self.attributes) or (1,)


def grid_of(before: PriorTable, after: PriorTable) -> Grid:
    """Lay two tables over one grid."""
    layers = tuple(sorted({int(layer) for table in (before, after) for layer in table.layer}))
    attributes = _united_attributes(before, after)
    rows, populations = [], []
    for table in (before, after):
        cells = _cell_index(table, layers, attributes)
        rows.append(_taken(table.row, cells))
        populations.append(_taken(table.population, cells))
    return Grid(layers, attributes, (rows[0], rows[1]), (populations[0], populations[1]))


def _united_attributes(before: PriorTable, after: PriorTable) -> tuple[TableAttribute, ...]:
    members: dict[str, dict[str, None]] = {}
    parents: dict[str, dict[str, tuple[str, ...]]] = {}
    for table in (before, after):
        for attribute in table.header.attributes:
            members.setdefault(attribute.name, {}).update(dict.fromkeys(attribute.members))
            parents.setdefault(attribute.name, {}).update(attribute.parents)
    return tuple(
        TableAttribute(name, tuple(found), tuple(parents[name].items())) for name, found in members.items()
    )


def _cell_index(
    table: PriorTable, layers: tuple[int, ...], attributes: tuple[TableAttribute, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[L] positions of layers and [C] token classes in one table; -1 where it has none."""
    positions = {int(layer): position for position, layer in enumerate(table.layer)}
    layer_index = np.array([positions.get(layer, -1) for layer in layers], dtype=np.int64)
    own = {attribute.name: attribute for attribute in table.header.attributes}
    strides: dict[str, int] = {}
    stride = 1
    for attribute in reversed(table.header.attributes):
        strides[attribute.name] = stride
        stride *= len(attribute.members)
    sizes = [len(attribute.members) for attribute in attributes] or [1]
    classes = np.zeros(sizes, dtype=np.int64)
    absent = np.zeros(sizes, dtype=np.bool_)
    for axis, united in enumerate(attributes):
        name = united.name
        if name not in own:
            continue
        known = {member: code for code, member in enumerate(own[name].members)}
        codes = np.array([known.get(member, -1) for member in united.members], dtype=np.int64)
        shape = [1] * len(sizes)
        shape[axis] = -1
        classes = classes + np.where(codes < 0, 0, codes * strides[name]).reshape(shape)
        absent |= (codes < 0).reshape(shape)
    return layer_index, np.where(absent, -1, classes).ravel()


def _taken(
    values: NDArray[np.int32], cells: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> NDArray[np.int64]:
    layer_index, class_index = cells
    if not values.size:
        return np.full((len(layer_index), len(class_index)), ABSENT)
    taken = values.astype(np.int64)[layer_index[:, None], class_index[None, :]]
    return np.where((layer_index[:, None] < 0) | (class_index[None, :] < 0), ABSENT, taken)
