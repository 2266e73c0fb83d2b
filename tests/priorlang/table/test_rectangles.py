"""Cells in rectangles: a partition, few of them, and words for them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from priorlang.table.prior_table import TableAttribute
from priorlang.table.rectangles import describe_classes, describe_members, rectangles

TASK = TableAttribute("task", ("caption", "vqa", "ocr", "chart", "d d"), (("reading", ("ocr", "chart")),))


@given(st.integers(1, 4), st.lists(st.integers(1, 3), min_size=1, max_size=3), st.data())
def test_rectangles_partition_the_cells(layers: int, sizes: list[int], data: st.DataObject) -> None:
    count = layers * int(np.prod(sizes))
    bits = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    painted = np.zeros((layers, *sizes), dtype=int)
    for chosen, members in rectangles(np.flatnonzero(bits), layers, sizes):
        painted[np.ix_(chosen, *members)] += 1
    np.testing.assert_array_equal(painted.ravel(), bits.astype(int))


@given(st.data())
def test_one_rectangle_is_one(data: st.DataObject) -> None:
    axes = [data.draw(st.sets(st.integers(0, 4), min_size=1)) for _ in range(3)]
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[np.ix_(*map(sorted, axes))] = True
    ((layers, members),) = rectangles(np.flatnonzero(mask), 5, (5, 5))
    assert [layers, *members] == [tuple(sorted(axis)) for axis in axes]


def test_the_cut_that_leaves_fewer_comes_first() -> None:
    """Two layers that differ in one task of many: cut by task, two rectangles; by modality, three."""
    mask = np.ones((1, 2, 6), dtype=bool)
    mask[0, 0, 3] = False
    mask[0, 0, 5] = False
    assert len(list(rectangles(np.flatnonzero(mask), 1, (2, 6)))) == 2


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (["ocr"], "ocr"),
        (["ocr", "chart"], "reading"),
        (["caption", "ocr", "chart", "vqa"], 'not "d d"'),
        (["d d", "caption"], 'caption | "d d"'),
        (["vqa", "chart", "ocr"], "vqa | reading"),
    ],
)
def test_members_are_named_by_the_shorter_way(members: list[str], words: str) -> None:
    assert describe_members(TASK, members) == words


def test_classes_leave_out_what_is_whole() -> None:
    modality = TableAttribute("modality", ("vision", "language"))
    assert describe_classes([modality, TASK], [(0,), (0, 1, 2, 3, 4)]) == "modality vision"
    assert describe_classes([modality, TASK], [(0, 1), (2, 3)]) == "task reading"
    assert describe_classes([modality, TASK], [(0, 1), (0, 1, 2, 3, 4)]) == ""
