"""Regions that changed in one way, gathered, and each change in words: what people read of a large difference."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from priorlang.compare.difference import Difference
from priorlang.compare.regions import Region, Vector
from priorlang.semantics.describe import index_set
from priorlang.table.rectangles import describe_classes, describe_layers, rectangles

_DIGITS = 12
"""Changes of α that agree in so many count as one: 1.5 − 1.25 and 0.35 − 0.1 differ in the last bit."""
_MANY = 8
"""Changes beyond which their amounts no longer keep them apart."""
_MOST_PLACES = 2
"""Rectangles that are spelled out."""
_MOST_STATES = 3
"""Priors of cells that come or go that are spelled out."""
_MOST_GROUPS = 3
"""Groups of experts that are spelled out."""


@dataclass(frozen=True, eq=False)
class Change:
    """One way in which cells changed: α and λ by the same amounts, or from one state to another."""

    regions: tuple[Region, ...]
    where: str

    @property
    def cells(self) -> int:
        """Cells that changed in this way."""
        return sum(region.cells for region in self.regions)

    @property
    def effect(self) -> float:
        """The sum of its regions'."""
        return sum(region.effect for region in self.regions)

    @property
    def kl(self) -> str:
        """KL of a cell in nats, from the least to the largest."""
        old, new = self.regions[0].alpha
        if old is None or new is None or len(old) != len(new):
            return "undefined between different experts"
        found = sorted(region.kl for region in self.regions if region.kl is not None)
        if not found or len(found) < len(self.regions):
            return "beyond measure"
        low, high = f"{found[0]:.3g}", f"{found[-1]:.3g}"
        return low if low == high else f"{low} to {high}"

    @property
    def is_shaped(self) -> bool:
        """Whether its cells are shaped on both sides."""
        return self.regions[0].state == ("shaped", "shaped")

    @property
    def moves_alpha(self) -> bool:
        """Whether α differs."""
        return self.regions[0].alpha[0] != self.regions[0].alpha[1]


@dataclass(frozen=True)
class ExpertMove:
    """What happened to some experts: each value as (before, after), or their change where it began in many ways."""

    experts: str
    alpha: str
    mean: str
    load: str


def changes_of(difference: Difference, *, apart: bool = False) -> list[Change]:
    """Every way in which cells changed, the largest effect first.

    Where there would be many, changes that move the same experts the same way count as one, by whatever amounts: a
    ramp gives every layer an amount of its own. `apart` keeps them apart.
    """
    groups = _grouped(difference, _kind)
    if len(groups) > _MANY and not apart:
        groups = _grouped(difference, _direction)
    found = [Change(tuple(regions), _where(difference, regions)) for regions in groups]
    return sorted(found, key=lambda change: (-change.effect, -change.cells))


def state_words(change: Change) -> str:
    """`no such cell → α 1.25×2 0.75×2, λ 0.01`, of cells that are not shaped on both sides."""
    return " → ".join(_side(change, side) for side in (0, 1))


def weight_words(change: Change) -> str:
    """`λ 0.01 → 0.02`; empty where it is the same."""
    pairs = {region.weight for region in change.regions}
    if not change.is_shaped or all(old == new for old, new in pairs):
        return ""
    return f"λ {_span('{:.6g}', (old for old, _ in pairs))} → {_span('{:.6g}', (new for _, new in pairs))}"


def pooling_words(change: Change) -> str:
    """How the tokens are pooled otherwise; empty where they are not."""
    if not change.regions[0].regrouped:
        return ""
    old, new = (sum(region.populations[side] for region in change.regions) for side in (0, 1))
    if old == new:
        return "tokens pooled with others than before"
    return f"tokens pooled otherwise: {_populations(old)} → {_populations(new)}"


def expert_moves(change: Change, most: int = _MOST_GROUPS) -> tuple[list[ExpertMove], int]:
    """What happened to the experts, in groups that fared alike, the largest change first; and how many groups more."""
    first = change.regions[0]
    old, new = first.alpha
    if old is None or new is None:
        return [], 0
    if len(old) != len(new):
        sizes = [ExpertMove("all", f"{runs(old)} → {runs(new)}", "", "")]
        return sizes if len(change.regions) == 1 else [
            ExpertMove("all", f"{len(old)} → {len(new)} of them", "", "")
        ], 0
    if len({region.alpha for region in change.regions}) > 1:
        return _shifts(change, most)
    groups: dict[Hashable, list[int]] = {}
    for expert, pair in enumerate(zip(old, new, strict=True)):
        groups.setdefault(pair, []).append(expert)
    ordered = sorted(groups.values(), key=lambda group: -abs(new[group[0]] - old[group[0]]))
    moves = [
        ExpertMove(
            index_set(group),
            _pair(old[group[0]], new[group[0]], "{:.6g}"),
            _moved(first.mean, group[0]),
            _moved(first.load, group[0]),
        )
        for group in ordered[:most]
    ]
    return moves, len(ordered) - len(moves)


def _shifts(change: Change, most: int) -> tuple[list[ExpertMove], int]:
    """By how much experts moved in regions that began in many ways: from the least to the largest."""
    pairs = [region.alpha for region in change.regions]
    alpha_RK = np.array([np.subtract(new, old) for old, new in pairs if old is not None and new is not None])
    mean_RK = np.array([region.mean_shift for region in change.regions])
    load_RK = np.array([region.load_shift for region in change.regions])
    groups: dict[bytes, list[int]] = {}
    for expert, amounts in enumerate(np.round(alpha_RK.T, _DIGITS) + 0.0):
        groups.setdefault(amounts.tobytes(), []).append(expert)
    # Where α stays, the rest moves by what the others take alone.
    ordered = sorted(
        (group for group in groups.values() if alpha_RK[:, group[0]].any()),
        key=lambda group: -float(np.abs(alpha_RK[:, group[0]]).max()),
    )
    moves = [
        ExpertMove(
            index_set(group),
            _span("{:+.6g}", np.round(alpha_RK[:, group[0]], _DIGITS).tolist()),
            _span("{:+.3f}", mean_RK[:, group].ravel().tolist()),
            _span("{:+.3f}", load_RK[:, group].ravel().tolist()),
        )
        for group in ordered[:most]
    ]
    return moves, len(ordered) - len(moves)


def runs(values: Sequence[float]) -> str:
    """A vector with runs of equal values written once: `1.25×4 0.75×4`; its middle left out where it is long."""
    found: list[tuple[float, int]] = []
    for value in values:
        if found and found[-1][0] == value:
            found[-1] = (value, found[-1][1] + 1)
        else:
            found.append((value, 1))
    words = [f"{value:.6g}×{count}" if count > 1 else f"{value:.6g}" for value, count in found]
    return " ".join(words if len(words) <= 8 else [*words[:4], "…", *words[-3:]])


def _grouped(difference: Difference, kind_of: Callable[[Region], Hashable]) -> list[list[Region]]:
    groups: dict[Hashable, list[Region]] = {}
    for region in difference.regions:
        groups.setdefault(kind_of(region), []).append(region)
    found = []
    for regions in groups.values():
        asked = {(region.alpha, region.weight) for region in regions}
        if regions[0].state != ("shaped", "shaped") and len(asked) <= _MOST_STATES:
            found += [
                [region for region in regions if (region.alpha, region.weight) == pair]
                for pair in sorted(asked, key=repr)
            ]
        else:
            found.append(regions)
    return found


def _kind(region: Region) -> Hashable:
    """What makes two regions one change: the same amounts."""
    old, new = region.alpha
    if old is None or new is None:
        return region.state
    moved: Hashable = (old, new)
    if len(old) == len(new):
        moved = tuple(np.round(np.subtract(new, old), _DIGITS).tolist())
    return moved, region.weight if region.weight[0] != region.weight[1] else None, region.regrouped


def _direction(region: Region) -> Hashable:
    """What makes two regions one change where there are many: the same direction."""
    old, new = region.alpha
    if old is None or new is None:
        return region.state
    signs = np.sign(np.subtract(new, old)).tobytes() if len(old) == len(new) else b""
    return signs, len(old), len(new), region.weight[0] != region.weight[1], region.regrouped


def _where(difference: Difference, regions: Sequence[Region]) -> str:
    """The cells of some regions in words: their largest rectangles, the rest counted."""
    grid = difference.grid
    places = np.concatenate([region.places for region in regions])
    blocks = sorted(
        rectangles(places, len(grid.layers), grid.sizes),
        key=lambda block: -len(block[0]) * int(np.prod([len(members) for members in block[1]])),
    )
    words, left = [], len(places)
    for layers, members in blocks[:_MOST_PLACES]:
        parts = [describe_classes(grid.attributes, members)]
        if len(layers) < len(grid.layers):
            parts.insert(0, describe_layers([grid.layers[index] for index in layers]))
        words.append(" · ".join(part for part in parts if part) or "everywhere")
        left -= len(layers) * int(np.prod([len(chosen) for chosen in members]))
    if left:
        words.append(f"{left:,} more cells" if left > 1 else "one more cell")
    return "; ".join(words)


def _side(change: Change, side: int) -> str:
    first = change.regions[0]
    if first.state[side] != "shaped":
        return {"absent": "no such cell", "unshaped": "unshaped"}[first.state[side]]
    asked = {(region.alpha[side], region.weight[side]) for region in change.regions}
    if len(asked) > 1:
        return f"{len(asked):,} different priors"
    alpha = first.alpha[side]
    assert alpha is not None
    return f"α {runs(alpha)}, λ {first.weight[side]:.6g}"


def _populations(count: int) -> str:
    return f"{count:,} population{'s' if count != 1 else ''}"


def _moved(pair: tuple[Vector | None, Vector | None], expert: int) -> str:
    old, new = pair
    return "" if old is None or new is None else _pair(old[expert], new[expert], "{:.3f}")


def _pair(old: float, new: float, form: str) -> str:
    before, after = form.format(old), form.format(new)
    return before if before == after else f"{before} → {after}"


def _span(form: str, values: Iterable[float | None]) -> str:
    """Values from the least to the largest, or the one that all are."""
    found = sorted(value for value in values if value is not None)
    low, high = form.format(found[0]), form.format(found[-1])
    return low if low == high else f"{low} to {high}"
