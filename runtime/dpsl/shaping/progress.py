"""How far training is, as a loop tells it."""

from __future__ import annotations

import operator
from typing import Any

from dpsl.errors import AttachError


def checked_progress(owner: str, step: Any, total: Any) -> tuple[int, int]:
    """Optimizer steps done, of how many.

    Raises:
        AttachError: they are no numbers of steps.
    """
    place = f"{owner}.set_progress({step!r}, {total!r})"
    counts = []
    for name, value in (("step", step), ("total", total)):
        try:
            count = operator.index(value)
        except TypeError:
            count = -1
        if count < 0 or isinstance(value, bool):
            raise AttachError(place, f"{name} is no number of optimizer steps", "give integers from 0")
        counts.append(count)
    done, of = counts
    if done > of:
        raise AttachError(
            place,
            f"{done:,} optimizer steps are done, of {of:,}",
            "give the steps done so far, then the steps of the whole training",
        )
    return done, of
