"""A run's routing → a prior file that says, within a tolerance, what its routers have become."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.human import counted
from priorlang.diagnostics.span import whole_file
from priorlang.fit.clusters import clustered
from priorlang.fit.divergence import distances
from priorlang.fit.numbers import readable
from priorlang.fit.regions import Layout, layout_of
from priorlang.fit.units import NONE, Units, units_of
from priorlang.fit.write import WrittenRule, named, prior_text
from priorlang.phases import Prior
from priorlang.routing.run import RunRouting, routing_error
from priorlang.syntax.reformat import rewritten
from priorlang.syntax.source import SourceFile
from priorlang.table.prior_table import UNSHAPED, PriorTable

TOLERANCE = 0.05
"""In nats. One expert of α near 1 that moves by a third of it costs as much, however many experts there are."""
_SPREAD, _ROUNDING = 0.5, 0.1
"""Parts of the tolerance for the spread within a cluster and for round numbers: √KL adds up like a distance."""
_TRIES = 8
_WEIGHT = 0.01


@dataclass(frozen=True, eq=False)
class FittedPrior:
    """A prior file, and how well it says what was measured.

    Attributes:
        text: the file.
        table: it compiled.
        tolerance: KL asked for.
        rules: how many there are.
        kl: [U], KL of each unit's best fit to what the file says of it.
        units: what was fitted.
        unseen: cells with too few tokens to fit.
    """

    text: str
    table: PriorTable
    tolerance: float
    rules: int
    kl: NDArray[np.float64]
    units: Units
    unseen: int

    @property
    def weight(self) -> NDArray[np.float64]:
        """[U], the share of all tokens that each unit has."""
        return np.asarray(self.units.tokens / self.units.tokens.sum())


def fit_prior(run: RunRouting, target: str, tolerance: float | None = None) -> FittedPrior:
    """Fit a prior to a run's routing.

    The text is read back and compiled, and every cell held to its fit, before it is given out.

    Args:
        run: the routing.
        target: the file it is for; its ending says in which form.
        tolerance: KL(fitted ‖ written) in nats that a cell may be off, over what chance alone shows; `TOLERANCE`
            where it is None.

    Raises:
        PriorError: the run has no tokens to fit.
    """
    units = units_of(run)
    if not len(units.tokens):
        raise routing_error(
            f"{run.place} has too few tokens to fit: fewer than two for each expert", run.place
        )
    tolerance = TOLERANCE if tolerance is None else tolerance
    part = 1.0
    for _ in range(_TRIES):
        fitted = _attempt(run, target, units, tolerance, part)
        if (fitted.kl <= tolerance + units.noise).all():
            return fitted
        part /= 4.0
    message = f"no prior within KL {tolerance:g} of {run.place} could be written; please report this run"
    raise PriorError([Finding("internal-error", Severity.ERROR, message, whole_file(target))])


def _attempt(run: RunRouting, target: str, units: Units, tolerance: float, part: float) -> FittedPrior:
    """A file that spends at most this part of the tolerance."""
    member, alpha = clustered(units, part * _SPREAD * tolerance)
    rounded = readable(alpha, part * _ROUNDING * tolerance)
    sizes = [len(attribute.members) for attribute in run.table.header.attributes] or [1]
    seen = np.where(units.of_cell == NONE, NONE, member[units.of_cell])
    layout = layout_of(_filled(seen, sizes), rounded, sizes)
    numbers = np.array([[float(value) for value in row] for row in rounded])
    far = np.array([distances(units.fitted[[unit]], numbers[[own]])[0, 0] for unit, own in enumerate(member)])
    text = _text(run, units, tolerance, layout, far, sizes, target)
    table = Prior(SourceFile(target, text)).table
    return FittedPrior(
        text, table, tolerance, len(layout.regions), _far(units, table), units, int((seen == NONE).sum())
    )


def _filled(seen: NDArray[np.int64], sizes: list[int]) -> NDArray[np.int64]:
    """Cells without a fit get that of most cells like them: the same class in other layers, else the nearest
    classes, where most of these agree; the base alone otherwise.
    """
    filled = seen.copy()
    members = np.stack(np.unravel_index(np.arange(seen.shape[1]), sizes), axis=1)
    for token_class in np.flatnonzero((seen == NONE).any(0)):
        unlike = (members != members[token_class]).sum(1)
        known = (seen != NONE).any(0)
        nearest = np.flatnonzero(known & (unlike == unlike[known].min()))
        for position in np.flatnonzero(seen[:, token_class] == NONE):
            here = seen[position, nearest]
            filled[position, token_class] = _majority(here if (here != NONE).any() else seen[:, nearest])
    return filled


def _majority(numbers: NDArray[np.int64]) -> int:
    counts = Counter(numbers[numbers != NONE].ravel().tolist())
    number, count = counts.most_common(1)[0]
    return int(number) if 2 * count > counts.total() else NONE


def _far(units: Units, table: PriorTable) -> NDArray[np.float64]:
    """[U], the largest KL from the fit of each unit to what a table says of its cells."""
    far = np.zeros(len(units.tokens))
    for unit in range(len(far)):
        rows = np.unique(table.row[units.of_cell == unit])
        far[unit] = distances(units.fitted[[unit]], table.alpha[rows]).max()
    return far


def _comments(units: Units, layout: Layout, far: NDArray[np.float64], sizes: list[int]) -> list[str]:
    """How far each rule's cells lie from it."""
    comments = []
    for region in layout.regions:
        inside = np.unique(units.of_cell.reshape(-1, *sizes)[np.ix_(region.cells[0], *region.cells[1])])
        inside = inside[inside != NONE]
        if len(inside):
            tokens = int(units.tokens[inside].sum())
            comments.append(f"{tokens:,} tokens, KL at most {far[inside].max():.3f}")
        else:
            comments.append("no tokens")
    return comments


def _text(
    run: RunRouting, units: Units, tolerance: float, layout: Layout, far: NDArray[np.float64], sizes: list[int],
    target: str,
) -> str:  # fmt: skip
    comments = _comments(units, layout, far, sizes)
    names = named(run.table, layout.regions)
    rules = [WrittenRule(*parts) for parts in zip(names, layout.regions, comments, strict=True)]
    weights = run.table.weight[run.table.row[run.table.row != UNSHAPED]].tolist()
    weight = Counter(weights).most_common(1)[0][0] if weights else _WEIGHT
    stage = f", stage {run.stage}" if run.stage else ""
    opening = [
        # A path may hold anything, line ends among it.
        f"What the routing of {' '.join(f'{run.place}{stage}'.split())} has become: "
        f"{int(units.tokens.sum()):,} tokens over {counted(len(run.table.layer), 'layer')}.",
    ]
    mean = float(np.average(far, weights=units.tokens))
    opening.append(
        f"KL from the best fit to this file: {mean:.4f} on average, {far.max():.4f} at most (tolerance {tolerance:g})."
    )
    unseen = int((units.of_cell == NONE).sum())
    if unseen:
        opening.append(
            f"{unseen} of {units.of_cell.size} cells had too few tokens; they follow their likes, or the base."
        )
    if units.pooled:
        opening.append("The run did not count token classes apart, so those that shared a prior still do.")
    opening.append("Routing does not show λ: the weight is that of the run.")
    draft = prior_text(run.table, layout, rules, weight, opening)
    return rewritten(SourceFile("fitted.prior", draft), target)
