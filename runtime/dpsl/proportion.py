"""How sure a share of right answers is, in reports and evaluations alike."""

from __future__ import annotations

import math


def standard_error(share: float, count: int) -> float:
    """Of a share that was counted over so many questions, in the same unit as the share.

    It is the standard deviation of Beta(right + 1, wrong + 1), what is known of a share about which nothing was known before
    (Laplace's rule of succession). For many questions it is the binomial √(p(1 − p)/n); where all answers are right, or
    all wrong, it is not 0, as n questions make nothing certain.

    Raises:
        ValueError: the share is not in [0, 1], or there is no question.
    """
    if not 0 <= share <= 1 or count < 1:
        raise ValueError(f"a share of {share} over {count} questions")
    middle = (share * count + 1) / (count + 2)
    return math.sqrt(middle * (1 - middle) / (count + 3))
