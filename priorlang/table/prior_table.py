"""The prior table: what the engine reads. Arrays, the names that explain them, and look-ups.

Dimensions: L routed layers, C token classes, R distinct priors (α, λ), K experts, P distinct Beta
marginals. A token class is one leaf member of each attribute, in mixed radix: the first attribute is
the most significant digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from priorlang.semantics.spec import UNKNOWN

if TYPE_CHECKING:
    from os import PathLike

UNSHAPED = -1


@dataclass(frozen=True)
class TableAttribute:
    """One attribute of a token: its leaf members in code order, and the leaves of each parent member."""

    name: str
    members: tuple[str, ...]
    parents: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {member: code for code, member in enumerate(self.members)}

    def code(self, member: str | None) -> int | None:
        """The code of a leaf; of `unknown` for an absent or unlisted one; None where that is no member."""
        found = self._codes.get(member) if member is not None else None
        return self._codes.get(UNKNOWN) if found is None else found


@dataclass(frozen=True)
class SourceRule:
    """Where a prior came from: the rule (or `default`) and its place in the source."""

    rule: str
    file: str
    line: int


@dataclass(frozen=True)
class TableHeader:
    """The names that explain the arrays."""

    language: str
    layers: int
    """Decoder layers of the model, routed or not."""
    experts: int
    top_k: int
    attributes: tuple[TableAttribute, ...]
    schedule: tuple[tuple[float, float], ...]
    """(place, factor) points that multiply every weight: linear between, constant outside, 1 without."""
    schedule_unit: str
    """What a place counts: `fraction` of the shaped steps, or optimizer `step`."""
    populations: tuple[str, ...]
    """A readable name of each population, `layer 5 · vision`."""
    sources: tuple[tuple[SourceRule, ...], ...]
    """For each prior, the rules that made it."""
    normal_form: str
    """SHA-256 of the prior's meaning: equal where two files say the same."""


@dataclass(frozen=True, eq=False)
class PriorTable:
    """A compiled prior. See ../../docs/table.md for the file format.

    Attributes:
        layer: [L] int32, decoder-layer index of each routed layer.
        row: [L, C] int32, the prior that a layer applies to a token class; -1 unshaped.
        population: [L, C] int32, the empirical CDF a token belongs to, numbered over all layers; -1 unshaped.
        alpha: [R, K] float64, the distinct priors.
        weight: [R] float64, λ of each.
        pair: [R, K] int32, which Beta marginal (α_k, A − α_k).
        marginal: [P, 128, 3] float32, F, h = dF/dℓ and h′ at 128 nodes in ℓ = logit p.
        window: [P, 2] float32, the first and last node in ℓ.
    """

    header: TableHeader
    layer: NDArray[np.int32]
    row: NDArray[np.int32]
    population: NDArray[np.int32]
    alpha: NDArray[np.float64]
    weight: NDArray[np.float64]
    pair: NDArray[np.int32]
    marginal: NDArray[np.float32]
    window: NDArray[np.float32]

    @property
    def class_count(self) -> int:
        """C, the number of token classes."""
        return int(self.row.shape[1])

    @property
    def population_count(self) -> int:
        """Populations over all layers."""
        return len(self.header.populations)

    def layer_position(self, layer: int) -> int:
        """The index l into the first dimension of `row` of a decoder layer.

        Raises:
            KeyError: the layer does not route.
        """
        found = np.flatnonzero(self.layer == layer)
        if not len(found):
            raise KeyError(f"layer {layer} does not route; routed layers: {self.layer.tolist()}")
        return int(found[0])

    def class_index(self, /, **members: str) -> int:
        """The token class of one leaf member per attribute; an omitted attribute means `unknown`.

        Raises:
            KeyError: an unknown attribute or member, or an omitted attribute without `unknown`.
        """
        extra = set(members) - {attribute.name for attribute in self.header.attributes}
        if extra:
            raise KeyError(f"no attribute {sorted(extra)[0]!r} in this prior")
        index = 0
        for attribute in self.header.attributes:
            member = members.get(attribute.name)
            code = attribute.code(member)
            if code is None:
                known = ", ".join(attribute.members)
                raise KeyError(f"attribute {attribute.name} has no member {member!r}; it has {known}")
            index = index * len(attribute.members) + code
        return index

    def class_members(self, index: int) -> dict[str, str]:
        """The leaf members that make up a token class."""
        members: dict[str, str] = {}
        for attribute in reversed(self.header.attributes):
            index, code = divmod(index, len(attribute.members))
            members[attribute.name] = attribute.members[code]
        return dict(reversed(members.items()))

    def alpha_of(self, /, layer: int, **members: str) -> NDArray[np.float64] | None:
        """α [K] of a cell, or None where it is unshaped."""
        row = int(self.row[self.layer_position(layer), self.class_index(**members)])
        return None if row == UNSHAPED else self.alpha[row].copy()

    def weight_of(self, /, layer: int, **members: str) -> float | None:
        """λ of a cell before the schedule, or None where it is unshaped."""
        row = int(self.row[self.layer_position(layer), self.class_index(**members)])
        return None if row == UNSHAPED else float(self.weight[row])

    def save(self, path: str | PathLike[str]) -> None:
        """Write the table; the same table gives the same bytes on any machine."""
        from pathlib import Path

        from priorlang.table.storage import write_table

        write_table(self, Path(path))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> PriorTable:
        """Read a table.

        Raises:
            PriorError: the file is missing, is no prior table, or a byte of it is wrong.
        """
        from pathlib import Path

        from priorlang.table.storage import read_table

        return read_table(Path(path))
