"""Three or more rules that override each other in a circle, where all of them match.

Two that do are found by looking at pairs (`priorlang.checks.rules`); circles are looked for in cells, and only
where the names of the rules go round.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from priorlang.checks.witness import witness
from priorlang.diagnostics.finding import Finding, Fix, Related, Severity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from priorlang.table.blocks import Block, Space
    from priorlang.table.matching import Mask

PLACES_SHOWN = 8
"""Rules of one circle that are named."""


def circle_findings(space: Space) -> list[Finding]:
    """`override-cycle` for circles of three rules or more, each at the first cell where all of its rules match.

    Circles that share a rule are told one at a time.
    """
    candidates = going_round(space.silencers)
    if not candidates:
        return []
    told: set[int] = set()
    findings: list[Finding] = []
    for block in space.blocks():
        findings.extend(_finding(block, *found) for found in _circles(space, block, candidates, told))
    return findings


def going_round(silencers: list[tuple[int, ...]]) -> set[int]:
    """The rules that stand on a circle of `overrides`, or below one."""
    waiting = [len(overriding) for overriding in silencers]
    targets: list[list[int]] = [[] for _ in silencers]
    for rule, overriding in enumerate(silencers):
        for other in overriding:
            targets[other].append(rule)
    ready = [rule for rule, count in enumerate(waiting) if not count]
    for rule in ready:
        for target in targets[rule]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return {rule for rule, count in enumerate(waiting) if count}


def _circles(
    space: Space, block: Block, candidates: set[int], told: set[int]
) -> Iterator[tuple[list[int], int]]:
    """Circles of a block that are not told yet, each with its cell; they are told then."""
    while True:
        left = sorted(candidates - told)
        row = {rule: position for position, rule in enumerate(left)}
        above = [
            np.array([row[o] for o in space.silencers[rule] if o in row], dtype=np.intp) for rule in left
        ]
        alive_Rn = _overridden_for_ever(block.matching_Rn[left], above)
        cells = np.flatnonzero(alive_Rn.any(axis=0))
        if not len(cells):
            return
        cell = int(cells[0])
        circle = [left[position] for position in _circle(alive_Rn[:, cell], above)]
        told.update(circle)
        yield circle, cell


def _overridden_for_ever(alive_Rn: Mask, above: list[NDArray[np.intp]]) -> Mask:
    """The rules that are left in each cell once those that no rule left overrides are taken away, again and again."""
    count = -1
    while count != (count := int(alive_Rn.sum())):
        for rule, overriding in enumerate(above):
            alive_Rn[rule] &= alive_Rn[overriding].any(axis=0)
    return alive_Rn


def _circle(alive_R: NDArray[np.bool_], above: list[NDArray[np.intp]]) -> list[int]:
    """One circle among the rules that are left in a cell, each followed by one that it overrides."""
    path: dict[int, None] = {}
    rule = int(alive_R.argmax())
    while rule not in path:
        path[rule] = None
        rule = next(int(other) for other in above[rule] if alive_R[other])
    walked = list(path)
    circle = walked[walked.index(rule) :][::-1]
    start = circle.index(min(circle))
    return circle[start:] + circle[:start]


def _finding(block: Block, circle: list[int], cell: int) -> Finding:
    rules = [block.spec.rules[position] for position in circle]
    names = [f"`{rule.name}`" for rule in rules[:PLACES_SHOWN]]
    names += [f"… ({len(rules)} rules)"] if len(rules) > PLACES_SHOWN else []
    message = (
        f"rules override each other in a circle, so none is active here: {' → '.join([*names, names[0]])}"
    )
    return Finding(
        "override-cycle",
        Severity.ERROR,
        message,
        rules[0].place_of_override(rules[1].name),
        tuple(
            Related("and on", rule.place_of_override(following.name))
            for rule, following in zip(rules[1:PLACES_SHOWN], [*rules[2:], rules[0]], strict=False)
        ),
        witness(block.spec, block.layer, block.token_class(cell)),
        Fix("remove one of the `overrides`"),
    )
