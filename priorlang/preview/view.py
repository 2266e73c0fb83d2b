"""A prior table and a selection → the distinct priors, where each applies, and which layers and tokens are alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from priorlang.checks.shares import ClassShares
from priorlang.preview.selection import Selection
from priorlang.semantics.describe import index_set
from priorlang.table.dirichlet import top_k_probability
from priorlang.table.prior_table import UNSHAPED, PriorTable
from priorlang.table.rectangles import describe_classes, describe_layers, rectangles

NEAR_NOTHING = 0.01
"""Probability of an expert below which a token as good as never goes there."""
_MOST_RECTANGLES = 2
"""That are spelled out to say where a prior applies."""


@dataclass(frozen=True, eq=False)
class AskedPrior:
    """One distinct α.

    Attributes:
        number: from 1, in order of its first cell.
        where: its cells in words.
        cells: how many.
        alpha: [K].
        weights: its distinct λ, ascending.
    """

    number: int
    where: str
    cells: int
    alpha: NDArray[np.float64]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class ExpertGroup:
    """Experts of one α in a prior: what each of them gets."""

    experts: tuple[int, ...]
    alpha: float
    mean: float
    """Expected routing probability."""
    enters: float
    """P(among the top k)."""
    hidden: float
    """P(p < NEAR_NOTHING)."""


@dataclass(frozen=True, eq=False)
class View:
    """What is to be shown.

    Attributes:
        experts: K.
        top_k: experts that a token goes to.
        layers: each kind of layer in words: all that ask for the same.
        kinds: each kind of tokens in words: all that ask for the same.
        classes: of each kind, its token classes.
        prior: [layers, kinds], the place in `priors`; -1 unshaped.
        priors: every distinct α of the selection.
        cells: of the selection.
        unshaped: how many of them are.
        shares: of each kind, its part of the tokens of the selection; None where token shares are not known.
        shares_note: what was assumed to know them.
    """

    experts: int
    top_k: int
    layers: tuple[str, ...]
    kinds: tuple[str, ...]
    classes: tuple[NDArray[np.int64], ...]
    prior: NDArray[np.int64]
    priors: tuple[AskedPrior, ...]
    cells: int
    unshaped: int
    shares: tuple[float, ...] | None = None
    shares_note: str = ""


def view_of(table: PriorTable, selection: Selection, shares: ClassShares | None = None) -> View:
    """Gather what a selection of cells asks for.

    Args:
        table: the prior.
        selection: some of its cells.
        shares: the part of the tokens that each token class has, where it is known.
    """
    row = table.row[np.ix_(selection.layers, selection.classes)].astype(np.int64)
    place, rows = _by_alpha(table, row)
    layer_kinds, layer_groups = _alike(place)
    class_kinds, class_groups = _alike(place.T)
    priors = []
    for number in range(len(rows)):
        layer, token_class = np.nonzero(place == number)
        cells = selection.layers[layer] * table.class_count + selection.classes[token_class]
        weights = np.unique(table.weight[np.unique(row[place == number])])
        where = describe_cells(table, cells)
        alpha = table.alpha[rows[number]]
        priors.append(AskedPrior(number + 1, where, len(cells), alpha, tuple(weights.tolist())))
    return View(
        table.header.experts,
        table.header.top_k,
        tuple(index_set(table.layer[selection.layers[group]].tolist()) for group in layer_groups),
        tuple(_kind(table, selection.classes[group]) for group in class_groups),
        tuple(selection.classes[group] for group in class_groups),
        place[np.ix_(layer_kinds, class_kinds)],
        tuple(priors),
        row.size,
        int(np.sum(row == UNSHAPED)),
        None if shares is None else _kind_shares(shares.fraction_C[selection.classes], class_groups),
        "" if shares is None else shares.note,
    )


def expert_groups(alpha: NDArray[np.float64], top_k: int) -> tuple[ExpertGroup, ...]:
    """The experts of a prior by their α, largest first."""
    total = float(alpha.sum())
    enters = top_k_probability(alpha, top_k)
    groups = []
    for value in np.unique(alpha)[::-1].tolist():
        experts = np.flatnonzero(alpha == value)
        hidden = _below(value, total - value)
        groups.append(
            ExpertGroup(tuple(experts.tolist()), value, value / total, float(enters[experts[0]]), hidden)
        )
    return tuple(groups)


def describe_cells(table: PriorTable, cells: NDArray[np.int64]) -> str:
    """Cells of a table in words: `layers 0..11 · modality vision`; the largest rectangles, the rest counted.

    Args:
        table: the table.
        cells: [n], layer position · class_count + token class.
    """
    attributes = table.header.attributes
    sizes = [len(attribute.members) for attribute in attributes] or [1]
    found = sorted(
        rectangles(cells, len(table.layer), sizes),
        key=lambda block: -len(block[0]) * int(np.prod([len(members) for members in block[1]])),
    )
    parts = []
    left = len(cells)
    for layers, members in found[:_MOST_RECTANGLES]:
        words = []
        if len(layers) < len(table.layer):
            words.append(describe_layers(table.layer[list(layers)].tolist()))
        words.append(describe_classes(attributes, members))
        parts.append(" · ".join(word for word in words if word) or "everywhere")
        left -= len(layers) * int(np.prod([len(chosen) for chosen in members]))
    if left:
        parts.append(f"{left:,} more cells" if left > 1 else "one more cell")
    return ", and ".join(parts)


def _by_alpha(table: PriorTable, row: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[int]]:
    """[l, c] the number of each cell's α in order of appearance, -1 unshaped; and of each number a row with it."""
    number_of: dict[bytes, int] = {}
    rows: list[int] = []
    numbers = np.full(len(table.alpha) + 1, UNSHAPED, dtype=np.int64)
    used, first = np.unique(row, return_index=True)
    for value in used[np.argsort(first)].tolist():
        if value == UNSHAPED:
            continue
        number = number_of.setdefault(table.alpha[value].tobytes(), len(rows))
        if number == len(rows):
            rows.append(value)
        numbers[value] = number
    return numbers[row], rows


def _alike(place: NDArray[np.int64]) -> tuple[list[int], list[list[int]]]:
    """Rows with the same content: the first of each kind, and all of each."""
    groups: dict[bytes, list[int]] = {}
    for index, content in enumerate(np.ascontiguousarray(place)):
        groups.setdefault(content.tobytes(), []).append(index)
    return [group[0] for group in groups.values()], list(groups.values())


def _kind_shares(share_c: NDArray[np.float64], groups: list[list[int]]) -> tuple[float, ...]:
    """Of each kind, its part of the selected tokens; of none at all, nothing."""
    total = float(share_c.sum())
    return tuple(float(share_c[group].sum()) / total if total > 0 else 0.0 for group in groups)


def _kind(table: PriorTable, classes: NDArray[np.int64]) -> str:
    """Token classes in words."""
    if len(classes) == table.class_count:
        return "all tokens"
    attributes = table.header.attributes
    sizes = [len(attribute.members) for attribute in attributes] or [1]
    found = list(rectangles(classes, 1, sizes))
    words = [describe_classes(attributes, members, named=False) for _, members in found[:_MOST_RECTANGLES]]
    counted = sum(
        int(np.prod([len(chosen) for chosen in members])) for _, members in found[_MOST_RECTANGLES:]
    )
    return "; ".join(words) + (f"; {counted:,} more classes" if counted else "")


def _below(alpha: float, rest: float) -> float:
    """P(p < NEAR_NOTHING) for p ~ Beta(alpha, rest)."""
    from scipy.special import betainc

    chance = float(betainc(alpha, rest, NEAR_NOTHING))
    if np.isfinite(chance):
        return chance
    return 1.0 if alpha / (alpha + rest) < NEAR_NOTHING else 0.0
