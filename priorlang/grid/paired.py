"""Mean and spread over seeds, and differences between variants, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import t as student

from priorlang.grid.plan import Better

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """One variant's values of a metric: `sd` is the sample standard deviation over seeds, None for one seed."""

    n: int
    mean: float
    sd: float | None


@dataclass(frozen=True)
class Paired:
    """A variant minus the reference, over the seeds that both have.

    Attributes:
        n: those seeds.
        mean: of the differences.
        se: its standard error, sd / √n; None for one seed.
        low: lower end of the interval of Student's t with n − 1 degrees of freedom; None for one seed.
        high: its upper end.
        wins: seeds on which the variant was better; higher where no way is better. Ties count for neither.
    """

    n: int
    mean: float
    se: float | None
    low: float | None
    high: float | None
    wins: int


def summarise(values: Sequence[float]) -> Summary | None:
    """Mean and spread; None of nothing."""
    if not values:
        return None
    return Summary(len(values), fmean(values), stdev(values) if len(values) > 1 else None)


def compare(
    values: Mapping[int, float], reference: Mapping[int, float], better: Better | None
) -> Paired | None:
    """The paired difference over common seeds; None where there is none.

    Student's t and no bootstrap: resampling three differences knows ten samples, and its intervals are far too short.
    """
    differences = [values[seed] - reference[seed] for seed in values if seed in reference]
    if not differences:
        return None
    n, mean = len(differences), fmean(differences)
    sign = -1 if better == "lower" else 1
    wins = sum(sign * difference > 0 for difference in differences)
    if n == 1:
        return Paired(1, mean, None, None, None, wins)
    se = stdev(differences) / math.sqrt(n)
    reach = float(student.ppf(0.5 + CONFIDENCE / 2, n - 1)) * se
    return Paired(n, mean, se, mean - reach, mean + reach, wins)
