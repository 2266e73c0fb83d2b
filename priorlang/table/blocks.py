"""Every cell of a prior in blocks: which rules act on it and what it asks for, exactly, as arrays.

A check needs each cell once and no cell for long, so memory stays that of one block however many cells there
are. Within a block, R rules meet n cells: one token class of each group that the rules tell apart, in the
first of the layers that ask alike.

Amounts are whole numbers over one denominator (a file writes decimals), in float64 where every sum stays below
2^52, and Python's own integers where it does not: exact either way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from priorlang.semantics.exact import rounded
from priorlang.table.amounts import Amounts
from priorlang.table.matching import Mask, distinct_columns, matching_of, silencers_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from priorlang.semantics.spec import Spec
    from priorlang.table.matching import Matching

BLOCK_MARKS = 1 << 21
"""Rules × cells, and experts × cells, of one block at most: 16 MiB where they are float64."""


@dataclass(frozen=True)
class Asked:
    """What n cells ask for.

    Attributes:
        active_Rn: the rules that act on each cell.
        base_n: the index in `Amounts.bases` of each cell's base; -1 where nothing states one.
        weight_n: the same of `Amounts.weights`.
        base_clash_n: cells to which active rules write different bases.
        weight_clash_n: the same of weights.
        unshaped_n: cells that ask for nothing.
        shaped_n: cells that have a prior: not unshaped, no clash, nothing missing.
        prefer_nE: what active rules add, times `Amounts.scale`.
        avoid_nE: what active rules take away, times `Amounts.scale`.
        alpha_nE: concentrations times `Amounts.scale`; meaningless where not shaped.
    """

    active_Rn: Mask
    base_n: NDArray[np.int64]
    weight_n: NDArray[np.int64]
    base_clash_n: Mask
    weight_clash_n: Mask
    unshaped_n: Mask
    shaped_n: Mask
    prefer_nE: NDArray[Any]
    avoid_nE: NDArray[Any]
    alpha_nE: NDArray[Any]


class Space:
    """The cells of a prior and how its rules lie over them.

    Raises:
        PriorError: `too-large`, where the rules tell apart more than anyone could mean.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.matching: Matching = matching_of(spec)
        self.silencers = silencers_of(spec)
        self.everywhere = np.array([rule.overrides_all for rule in spec.rules], dtype=np.bool_)
        self.named = [
            np.array([other for other in silencers if not self.everywhere[other]], dtype=np.intp)
            for silencers in self.silencers
        ]
        self.targets: list[list[int]] = [[] for _ in spec.rules]
        """For each rule, the rules that it overrides by name."""
        for rule, overriding in enumerate(self.named):
            for other in overriding.tolist():
                self.targets[other].append(rule)

    def blocks(self) -> Iterator[Block]:
        """All cells: in order of layers, then of token classes, as long as a layer fits into a block."""
        spec, matching = self.spec, self.matching
        widest = max(len(spec.rules), spec.model.experts, 1)
        step = max(64, BLOCK_MARKS // widest)
        alike = list(self._layers_alike())
        for start in range(0, matching.group_count, step):
            groups_n = np.arange(start, min(start + step, matching.group_count))
            found_Rn = matching.groups_of(groups_n)
            for positions, varies in alike:
                here_R = matching.layers[:, positions[0]]
                amounts = self._amounts(positions[0], varies)
                yield Block(self, amounts, tuple(positions), groups_n, found_Rn & here_R[:, None])

    @cached_property
    def breadth(self) -> NDArray[np.float64]:
        """[R]: how many cells each rule matches, as a fraction of all."""
        spec, layers = self.spec, len(self.spec.model.routed)
        breadth_R = np.ones(len(spec.rules))
        for position, rule in enumerate(spec.rules):
            for condition in rule.where.conditions:
                breadth_R[position] *= len(condition.codes) / len(spec.attributes[condition.attribute].leaves)
        return np.asarray(breadth_R * self.matching.layers.sum(axis=1) / layers, dtype=np.float64)

    @cached_property
    def _constant(self) -> Amounts:
        return Amounts(self.spec, self.spec.model.routed[0])

    def _amounts(self, position: int, varies: bool) -> Amounts:
        return Amounts(self.spec, self.spec.model.routed[position]) if varies else self._constant

    def active(self, matching_Rn: Mask) -> Mask:
        """The rules that match and that no matching rule overrides."""
        active_Rn = matching_Rn.copy()
        for rule, overriding in enumerate(self.named):
            if len(overriding):
                active_Rn[rule] &= ~matching_Rn[overriding].any(axis=0)
        if self.everywhere.any():
            others_n = matching_Rn[self.everywhere].sum(axis=0)
            active_Rn[~self.everywhere] &= others_n == 0
            active_Rn[self.everywhere] &= others_n == 1
        return active_Rn

    def active_without(self, rule: int, matching_Rn: Mask, active_Rn: Mask) -> Mask:
        """What `active` would be without one of the rules, given what it is: only what that rule overrides changes."""
        without_Rn = matching_Rn.copy()
        without_Rn[rule] = False
        if self.everywhere[rule]:
            return self.active(without_Rn)
        found_Rn = active_Rn.copy()
        found_Rn[rule] = False
        sweeping_n = without_Rn[self.everywhere].sum(axis=0)
        for target in self.targets[rule]:
            overridden_n = without_Rn[self.named[target]].any(axis=0)
            found_Rn[target] = (
                without_Rn[target] & ~overridden_n & (sweeping_n == int(self.everywhere[target]))
            )
        return found_Rn

    def asked(self, active_Rn: Mask, amounts: Amounts) -> Asked:
        """What cells ask for, given the rules that act on them."""
        base_n, base_clash_n = _written(active_Rn, amounts.base_R, amounts.default_base)
        weight_n, weight_clash_n = _written(active_Rn, amounts.weight_R, amounts.default_weight)
        silent_n = np.asarray(active_Rn[amounts.unshaped_R].any(axis=0))
        base_clash_n &= ~silent_n
        weight_clash_n &= ~silent_n
        missing_n = (base_n < 0) | (weight_n < 0)
        if self.spec.default.unshaped is not None:
            silent_n = np.asarray(silent_n | (missing_n & ~active_Rn[amounts.shaping_R].any(axis=0)))
        prefer_nE = amounts.sums(active_Rn, amounts.prefer_RE)
        avoid_nE = amounts.sums(active_Rn, amounts.avoid_RE)
        return Asked(
            active_Rn,
            base_n,
            weight_n,
            base_clash_n,
            weight_clash_n,
            silent_n,
            ~(silent_n | missing_n | base_clash_n | weight_clash_n),
            prefer_nE,
            avoid_nE,
            amounts.bases_of(base_n) + prefer_nE - avoid_nE,
        )

    def _layers_alike(self) -> Iterator[tuple[list[int], bool]]:
        """Positions of layers that the same rules match, apart where a ramp makes them differ."""
        spec = self.spec
        ramps = np.array([rule.varies for rule in spec.rules], dtype=np.bool_)
        first, which = distinct_columns(self.matching.layers)
        for kind, example in enumerate(first):
            positions = np.flatnonzero(which == kind).tolist() if len(spec.rules) else list(range(len(which)))
            if spec.default.varies or bool((self.matching.layers[:, example] & ramps).any()):
                yield from (([position], True) for position in positions)
            else:
                yield positions, False


@dataclass(frozen=True, eq=False)
class Block:
    """Some cells, looked at together.

    Attributes:
        space: the whole they are part of.
        amounts: what each rule asks for in these layers.
        layers: positions in `spec.model.routed` of the layers, all of which ask for the same.
        groups_n: the groups of token classes.
        matching_Rn: the rules that match each cell, silenced or not.
    """

    space: Space
    amounts: Amounts
    layers: tuple[int, ...]
    groups_n: NDArray[np.int64]
    matching_Rn: Mask

    @property
    def spec(self) -> Spec:
        """The prior."""
        return self.space.spec

    @property
    def layer(self) -> int:
        """The decoder layer that stands for all of `layers`."""
        return self.spec.model.routed[self.layers[0]]

    @cached_property
    def asked(self) -> Asked:
        """What the cells ask for."""
        return self.space.asked(self.space.active(self.matching_Rn), self.amounts)

    @cached_property
    def acts(self) -> Mask:
        """[R]: the rules that act on some cell, shaped or not."""
        return np.asarray(self.asked.active_Rn.any(axis=1))

    @cached_property
    def first_acting(self) -> NDArray[np.int64]:
        """[R]: the first shaped cell on which each rule acts; -1 where there is none."""
        acting_Rn = self.asked.active_Rn & self.asked.shaped_n
        return np.where(acting_Rn.any(axis=1), acting_Rn.argmax(axis=1), -1)

    @cached_property
    def alpha(self) -> NDArray[np.float64]:
        """[n, E]: concentrations, each rounded once."""
        return self.amounts.rounded(self.asked.alpha_nE)

    @property
    def weights(self) -> NDArray[np.float64]:
        """[n]: λ of each cell; meaningless where not shaped."""
        listed = np.array([rounded(weight) for weight in self.amounts.weights] or [0.0])
        return np.asarray(listed[self.asked.weight_n], dtype=np.float64)

    def token_class(self, cell: int) -> int:
        """The first token class of a cell's group."""
        return self.space.matching.first_class(int(self.groups_n[cell]))


def _written(active_Rn: Mask, value_R: NDArray[np.int64], default: int) -> tuple[NDArray[np.int64], Mask]:
    """The value that the active writers write to each cell, else the default's; and where two differ."""
    writers = np.flatnonzero(value_R >= 0)
    cells = active_Rn.shape[1]
    if not len(writers):
        return np.full(cells, default, dtype=np.int64), np.zeros(cells, dtype=np.bool_)
    active, value = active_Rn[writers], value_R[writers][:, None]
    highest = np.where(active, value, -1).max(axis=0)
    lowest = np.where(active, value, np.iinfo(np.int64).max).min(axis=0)
    written = highest >= 0
    return np.where(written, highest, default), written & (lowest != highest)
