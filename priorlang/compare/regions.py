"""Scattered cells → few rectangles: layers × members of each attribute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Rectangle = tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]
"""Positions of layers, and for each attribute the positions of its members."""


def rectangles(mask: NDArray[np.bool_], sizes: Sequence[int]) -> Iterator[Rectangle]:
    """Cut the cells of a [L, C] mask into disjoint rectangles.

    Layers with the same classes are taken together; then each attribute in turn groups the members
    that have the same cells below them. Cells that are one rectangle come out as one.
    """
    for layers, below in _same_below(mask):
        for members in _blocks(below.reshape(tuple(sizes))):
            yield layers, members


def _blocks(mask: NDArray[np.bool_]) -> Iterator[tuple[tuple[int, ...], ...]]:
    if mask.ndim == 1:
        yield (tuple(int(index) for index in np.flatnonzero(mask)),)
        return
    for members, below in _same_below(mask):
        for rest in _blocks(below):
            yield (members, *rest)


def _same_below(mask: NDArray[np.bool_]) -> Iterator[tuple[tuple[int, ...], NDArray[np.bool_]]]:
    """Group the indices of the first axis by what lies below them, in order of appearance."""
    groups: dict[bytes, list[int]] = {}
    for index in range(mask.shape[0]):
        if mask[index].any():
            groups.setdefault(np.ascontiguousarray(mask[index]).tobytes(), []).append(index)
    for indices in groups.values():
        yield tuple(indices), mask[indices[0]]
