"""A grid's numbers as text: so many digits as their spread bears."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from priorlang.grid.paired import Summary

NOTHING = "–"
WINS = {"higher": "higher wins", "lower": "lower wins", None: "neither way is better; wins count higher"}
"""Which way wins count, by `Metric.wins`."""


def summary_text(found: Summary | None, n: int, digits: int) -> str:
    """A mean with its spread; its number of seeds where that is not `n`."""
    if found is None:
        return NOTHING
    text = f"{found.mean:.{digits}f}" + ("" if found.sd is None else f" ± {found.sd:.{digits}f}")
    return text if found.n == n else f"{text} ({found.n})"


def decimals(spreads: Sequence[float]) -> int:
    """Decimals that show two figures of the middle one of these spreads, four at most."""
    known = [spread for spread in spreads if spread and math.isfinite(spread)]
    return min(4, max(0, 1 - math.floor(math.log10(median(known))))) if known else 3
