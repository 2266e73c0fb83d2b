"""How much what a prior asks for moves when each of its numbers moves by a fifth.

What moves is the load that the prior implies for each expert (its part of the top-k slots, 1 where even), over all
tokens where their shares are known, else cell by cell; and the mean routing probability of each expert in a cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from priorlang.checks.variations import variations
from priorlang.checks.witness import Witness, witness
from priorlang.semantics.describe import describe_value
from priorlang.table.cells import cells_of
from priorlang.table.dirichlet import top_k_load
from priorlang.table.numbering import numbering_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from priorlang.checks.shares import ClassShares
    from priorlang.checks.variations import Variation
    from priorlang.phases import Prior
    from priorlang.semantics.spec import Spec


@dataclass(frozen=True)
class Move:
    """How one figure moves: its value with less, as it stands, and with more; None where that is no prior."""

    expert: int
    where: Witness
    less: float | None
    now: float
    more: float | None

    @property
    def largest(self) -> float:
        """The larger of the two changes."""
        return max(
            (abs(value - self.now) for value in (self.less, self.more) if value is not None), default=0.0
        )


@dataclass(frozen=True)
class Sensitivity:
    """What moving one number does. `load` and `mean` are None where neither direction is possible."""

    name: str
    less: str
    now: str
    more: str
    load: Move | None
    mean: Move | None
    problems: tuple[str, ...] = ()
    """Why a direction is not possible."""

    @property
    def largest(self) -> float:
        """The largest change of a load."""
        return self.load.largest if self.load is not None else 0.0


class _Implied:
    """What a prior implies: of R distinct priors the relative loads and means, and the row of each cell."""

    def __init__(self, spec: Spec, shares: ClassShares | None) -> None:
        numbering = numbering_of(cells_of(spec))
        self.row_LC = numbering.row
        alpha_RE = np.array([[float(a) for a in prior.alpha] for prior in numbering.priors])
        alpha_RE = alpha_RE.reshape(-1, spec.model.experts)
        self.load_RE = top_k_load(alpha_RE, spec.model.top_k) * spec.model.experts
        self.mean_RE = alpha_RE / alpha_RE.sum(axis=1, keepdims=True)
        self.load_LE: NDArray[np.float64] | None = None
        if shares is not None:
            padded = np.vstack([self.load_RE, np.zeros(spec.model.experts)])
            mass_LR = np.array(
                [np.bincount(row + 1, shares.fraction_C, len(padded)) for row in self.row_LC.astype(np.int64)]
            )[:, 1:]
            total_L = mass_LR.sum(axis=1, keepdims=True)
            self.load_LE = mass_LR @ self.load_RE / np.where(total_L > 0, total_L, 1.0)


def sensitivity_of(prior: Prior, shares: ClassShares | None) -> list[Sensitivity]:
    """What each number of a sound prior does to what it asks for, largest effects first.

    Args:
        prior: without errors.
        shares: of its token classes, where they are known.

    Raises:
        PriorError: `too-large`, where a file without parameters states more than `MOST_NUMBERS` amounts.
    """
    now = _Implied(prior.spec, shares)
    found = [_sensitivity(prior.spec, now, shares, varied) for varied in variations(prior)]
    return sorted(found, key=lambda item: (-item.largest, item.name))


def _sensitivity(spec: Spec, now: _Implied, shares: ClassShares | None, varied: Variation) -> Sensitivity:
    less, more = (
        _Implied(changed, shares) if not isinstance(changed, str) else None for changed in varied.specs
    )
    problems = tuple(changed for changed in varied.specs if isinstance(changed, str))
    low, value, high = (describe_value(number) for number in varied.values)
    if less is None and more is None:
        return Sensitivity(varied.name, low, value, high, None, None, problems)
    load = (
        _load_over_tokens(spec, less, now, more)
        if now.load_LE is not None
        else _in_cells(spec, less, now, more, "load_RE")
    )
    mean = _in_cells(spec, less, now, more, "mean_RE")
    return Sensitivity(varied.name, low, value, high, load, mean, problems)


def _load_over_tokens(spec: Spec, less: _Implied | None, now: _Implied, more: _Implied | None) -> Move:
    """The load of the layer and expert that moves most."""
    assert now.load_LE is not None
    loads = [None if side is None else side.load_LE for side in (less, more)]
    moved_LE = np.max([np.abs(load - now.load_LE) for load in loads if load is not None], axis=0)
    layer, expert = np.unravel_index(int(moved_LE.argmax()), moved_LE.shape)
    low, high = (None if load is None else float(load[layer, expert]) for load in loads)
    where: Witness = {"layer": spec.model.routed[int(layer)]}
    return Move(int(expert), where, low, float(now.load_LE[layer, expert]), high)


def _in_cells(spec: Spec, less: _Implied | None, now: _Implied, more: _Implied | None, name: str) -> Move:
    """The figure of the cell and expert that moves most; cells that are unshaped on one side are left out."""
    best: Move | None = None
    for side in (less, more):
        if side is None:
            continue
        code_LC = now.row_LC.astype(np.int64) * (len(side.mean_RE) + 1) + side.row_LC
        both_LC = (now.row_LC >= 0) & (side.row_LC >= 0)
        _, first = np.unique(np.where(both_LC, code_LC, -1), return_index=True)
        for cell in first[both_LC.ravel()[first]].tolist():
            layer, token_class = divmod(cell, now.row_LC.shape[1])
            values_E = [
                None
                if one is None or one.row_LC.flat[cell] < 0
                else getattr(one, name)[one.row_LC.flat[cell]]
                for one in (less, now, more)
            ]
            own_E = values_E[1]
            assert own_E is not None
            moved_E = np.max([np.abs(other - own_E) for other in values_E if other is not None], axis=0)
            expert = int(moved_E.argmax())
            if best is None or moved_E[expert] > best.largest + 1e-12:
                low, own, high = (None if values is None else float(values[expert]) for values in values_E)
                assert own is not None
                best = Move(expert, witness(spec, spec.model.routed[layer], token_class), low, own, high)
    return best or Move(0, {}, None, 0.0, None)
