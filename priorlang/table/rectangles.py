"""Scattered cells → few rectangles, layers × members of each attribute, and a rectangle in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from priorlang.semantics.describe import index_set
from priorlang.syntax.phrases import quoted
from priorlang.table.prior_table import TableAttribute

Rectangle = tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]
"""Positions of layers, and for each attribute the positions of its members."""


def rectangles(cells: NDArray[np.int64], layers: int, sizes: Sequence[int]) -> Iterator[Rectangle]:
    """Cut a set of cells into disjoint rectangles.

    The axis along which the fewest slices differ is cut first, and equal slices stay together. Cells that are one
    rectangle come out as one.

    Args:
        cells: [n], places in a grid of layers × token classes, in any order.
        layers: L, its rows.
        sizes: the number of members of each attribute; (1,) without attributes.
    """
    if not len(cells):
        return
    if len(cells) == 1:
        only = [(int(place),) for place in np.unravel_index(int(cells[0]), (layers, *sizes))]
        yield only[0], tuple(only[1:])
        return
    places = [np.unique(axis, return_inverse=True) for axis in np.unravel_index(cells, (layers, *sizes))]
    mask = np.zeros([len(values) for values, _ in places], dtype=np.bool_)
    mask[tuple(inverse for _, inverse in places)] = True
    for block in _blocks(mask):
        named = [
            tuple(values[list(chosen)].tolist()) for (values, _), chosen in zip(places, block, strict=True)
        ]
        yield named[0], tuple(named[1:])


def _blocks(mask: NDArray[np.bool_]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """The places along each axis of every rectangle of a mask."""
    if mask.all():
        yield tuple(tuple(range(size)) for size in mask.shape)
        return
    cuts = [_same_below(mask, axis) for axis in range(mask.ndim)]
    axis = min(range(mask.ndim), key=lambda place: (len(cuts[place]), place))
    for indices in cuts[axis]:
        below = np.take(mask, indices[0], axis=axis)
        if mask.ndim == 1:
            yield (indices,)
            continue
        for rest in _blocks(below):
            yield (*rest[:axis], indices, *rest[axis:])


def _same_below(mask: NDArray[np.bool_], axis: int) -> list[tuple[int, ...]]:
    """The indices of an axis grouped by what lies below them, in order of appearance; those of nothing left out."""
    groups: dict[bytes, list[int]] = {}
    for index, below in enumerate(np.moveaxis(mask, axis, 0)):
        if below.any():
            groups.setdefault(below.tobytes(), []).append(index)
    return [tuple(indices) for indices in groups.values()]


def describe_members(attribute: TableAttribute, members: Sequence[str]) -> str:
    """Some members of an attribute as a reader would name them: by their parents, or by what is left out."""
    chosen = _names(attribute, set(members))
    without = _names(attribute, set(attribute.members) - set(members))
    if 2 * len(without) < len(chosen) > 2:
        return f"not {' | '.join(without)}"
    return " | ".join(chosen)


def _names(attribute: TableAttribute, members: set[str]) -> list[str]:
    """Members by name, those of a whole parent by its name, in the order of their declaration."""
    left, found = set(members), []
    for parent, leaves in attribute.parents:
        if left.issuperset(leaves):
            found.append((attribute.members.index(leaves[0]), parent))
            left.difference_update(leaves)
    found += [(attribute.members.index(member), member) for member in left]
    return [quoted(name) for _, name in sorted(found)]


def describe_classes(
    attributes: Sequence[TableAttribute], chosen: Sequence[Sequence[int]], *, named: bool = True
) -> str:
    """Token classes in words, `modality vision · task reading`; empty where they are all.

    Without `named` the attributes go without saying: `vision · reading`.
    """
    words = [
        (f"{quoted(attribute.name)} " if named else "")
        + describe_members(attribute, [attribute.members[code] for code in codes])
        for attribute, codes in zip(attributes, chosen, strict=False)
        if len(codes) < len(attribute.members)
    ]
    return " · ".join(words)


def describe_layers(layers: Sequence[int]) -> str:
    """Decoder layers in words, `layers 0..11`."""
    return f"layer{'s' if len(layers) != 1 else ''} {index_set(layers)}"
