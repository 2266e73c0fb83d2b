"""Two priors → what differs: declarations, rules, expectations, and cells in rectangular regions."""

from __future__ import annotations

from dataclasses import dataclass

from priorlang.compare.declarations import Declaration, compare_declarations
from priorlang.compare.grid import Grid, grid_of
from priorlang.compare.regions import Region, regions_of
from priorlang.compare.rules import (
    ExpectationDifference,
    RuleDifference,
    compare_expectations,
    compare_rules,
)
from priorlang.semantics.spec import Spec
from priorlang.table.prior_table import PriorTable


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a table, and the Spec it came from where there is one."""

    name: str
    table: PriorTable
    spec: Spec | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether there is no prior on this side."""
        return self.table.header.experts == 0


@dataclass(frozen=True, eq=False)
class Difference:
    """Everything that differs between two priors. `identical` is about meaning, not about text."""

    before: str
    after: str
    identical: bool
    declarations: tuple[Declaration, ...]
    rules: RuleDifference
    expectations: ExpectationDifference
    grid: Grid
    regions: tuple[Region, ...]

    @property
    def total_cells(self) -> int:
        """Cells of either side."""
        return int(self.grid.rows[0].size)

    @property
    def changed_cells(self) -> int:
        """Cells of all regions."""
        return sum(region.cells for region in self.regions)


def compare(before: Side, after: Side) -> Difference:
    """Compare two priors."""
    grid = grid_of(before.table, after.table)
    rules, expectations = RuleDifference(), ExpectationDifference()
    if all(side.spec is not None or side.is_nothing for side in (before, after)):
        rules = compare_rules(before.spec, after.spec)
        expectations = compare_expectations(before.spec, after.spec)
    return Difference(
        before.name,
        after.name,
        before.table.header.normal_form == after.table.header.normal_form,
        compare_declarations(before.table, after.table),
        rules,
        expectations,
        grid,
        regions_of(grid, before.table, after.table),
    )
