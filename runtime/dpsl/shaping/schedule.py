"""The factor that multiplies every weight, over the shaped steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def schedule_factor(points: Sequence[tuple[float, float]], unit: str, step: int, total: int) -> float:
    """The factor at an optimizer step: linear between the points, constant outside.

    Args:
        points: (place, factor), ascending in place; none means 1 throughout.
        unit: `fraction`: places are parts of `total`; `step`: they count optimizer steps.
        step: shaped optimizer steps done.
        total: shaped optimizer steps planned.
    """
    if not points:
        return 1.0
    place = step / max(total, 1) if unit == "fraction" else float(step)
    places, factors = zip(*points, strict=True)
    return float(np.interp(place, places, factors))
